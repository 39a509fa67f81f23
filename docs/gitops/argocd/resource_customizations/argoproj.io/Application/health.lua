-- Argo CD gives an Application no health of its own, so that sync waves of Applications do not wait for each other. This does.
local status = obj.status
if status ~= nil and status.health ~= nil and status.health.status ~= nil then
  return { status = status.health.status, message = status.health.message or "" }
end
return { status = "Progressing", message = "not looked at yet" }

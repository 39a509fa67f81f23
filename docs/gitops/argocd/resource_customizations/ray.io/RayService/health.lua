-- Ready means that requests are answered, an upgrade may be under way beside it. An application that could not be deployed
-- keeps its status while KubeRay tries on, and is told here first.
local function answer(status, message)
  return { status = status, message = message }
end

local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return answer("Progressing", "KubeRay has not seen this generation yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind, wanted)
  return conditions[kind] ~= nil and conditions[kind].status == wanted
end

local function told(kind)
  local message = conditions[kind].message
  if message == nil or message == "" then
    return conditions[kind].reason
  end
  return conditions[kind].reason .. ": " .. message
end

for _, name in ipairs({ "pendingServiceStatus", "activeServiceStatus" }) do
  local applications = (status[name] or {}).applicationStatuses or {}
  for application, found in pairs(applications) do
    if found.status == "DEPLOY_FAILED" or found.status == "UNHEALTHY" then
      return answer("Degraded", application .. " is " .. found.status .. ": " .. (found.message or ""))
    end
  end
end
if conditions.Ready ~= nil and conditions.Ready.status ~= "True" then
  local reason = conditions.Ready.reason
  if reason == "InitializingTimeout" or reason == "ValidationFailed" then
    return answer("Degraded", told("Ready"))
  end
end
if is("RollbackInProgress", "True") then
  return answer("Progressing", told("RollbackInProgress"))
end
if is("UpgradeInProgress", "True") then
  return answer("Progressing", told("UpgradeInProgress"))
end
if is("Ready", "True") then
  return answer("Healthy", told("Ready"))
end
if conditions.Ready ~= nil then
  return answer("Progressing", told("Ready"))
end
return answer("Progressing", "no condition is set yet")

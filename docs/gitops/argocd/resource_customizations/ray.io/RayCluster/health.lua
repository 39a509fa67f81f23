-- RayClusterProvisioned stays True once every pod was ready for the first time, therefore the head pod is asked as well.
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

if is("RayClusterSuspended", "True") then
  return answer("Suspended", "spec.suspend is set, by a person or by a queue")
end
if is("RayClusterSuspending", "True") then
  return answer("Progressing", "deleting the pods of a suspended cluster")
end
if is("ReplicaFailure", "True") then
  return answer("Degraded", told("ReplicaFailure"))
end
if is("RayClusterProvisioned", "True") and is("HeadPodReady", "True") then
  return answer("Healthy", "every pod has been ready, and the head pod is")
end
if is("HeadPodReady", "False") then
  return answer("Progressing", told("HeadPodReady"))
end
return answer("Progressing", "starting pods")

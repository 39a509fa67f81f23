-- KubeRay (1.6, 1.7) gives a RayJob no conditions and writes no observedGeneration. Complete covers a stopped job too, so
-- success is Complete together with SUCCEEDED, and ValidationFailed is an end although KubeRay does not list it as one.
local function answer(status, message)
  return { status = status, message = message }
end

local status = obj.status or {}
local deployment = status.jobDeploymentStatus or ""
local job = status.jobStatus or ""
local message = status.message
if message == nil or message == "" then
  message = deployment
end
if status.reason ~= nil and status.reason ~= "" then
  message = status.reason .. ": " .. message
end

if deployment == "Complete" then
  if job == "SUCCEEDED" then
    return answer("Healthy", "the job succeeded")
  end
  return answer("Degraded", "the job ended as " .. job)
end
if deployment == "Failed" or deployment == "ValidationFailed" then
  return answer("Degraded", message)
end
if deployment == "Suspended" then
  return answer("Suspended", "spec.suspend is set, by a person or by a queue")
end
if deployment == "" then
  return answer("Progressing", "KubeRay has not looked at the job yet")
end
return answer("Progressing", message)

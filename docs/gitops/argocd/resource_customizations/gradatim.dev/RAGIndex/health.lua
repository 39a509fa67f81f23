-- Health of ComputeProfile, Dataset and RAGIndex: the same conditions mean the same thing, so the three scripts are equal.
local function answer(status, message)
  return { status = status, message = message }
end

local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return answer("Progressing", "the operator has not seen this generation yet")
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

if is("Suspended", "True") then
  return answer("Suspended", told("Suspended"))
end
if is("Reconciling", "True") then
  return answer("Progressing", told("Reconciling"))
end
if is("Stalled", "True") then
  return answer("Degraded", told("Stalled"))
end
if is("Degraded", "True") then
  return answer("Degraded", told("Degraded"))
end
if is("Ready", "True") then
  if is("Current", "False") then
    return answer("Healthy", "serving an earlier result; " .. told("Current"))
  end
  return answer("Healthy", told("Ready"))
end
if conditions.Ready ~= nil then
  return answer("Progressing", told("Ready"))
end
return answer("Progressing", "no condition is set yet")

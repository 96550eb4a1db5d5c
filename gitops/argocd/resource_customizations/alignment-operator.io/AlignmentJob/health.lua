-- Health of an AlignmentJob: see the table in docs/gitops.md.
local conditions = {}
for _, condition in ipairs(obj.status ~= nil and obj.status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local function health(status, kind)
  return {status = status, message = conditions[kind].message}
end

if conditions["Ready"] == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not seen this spec yet."}
end
if is("Stalled") then
  return health("Degraded", "Stalled")
end
if is("Suspended") then
  return health("Suspended", "Suspended")
end
if is("Reconciling") then
  return health("Progressing", "Reconciling")
end
if not is("Ready") then -- waiting alone does not help: no such queue, no Kueue, a job before this one that failed
  return health("Degraded", "Ready")
end
if is("Running") then
  return health("Progressing", "Running")
end
-- A run that ended stays told while its successor waits, and is then of an earlier generation.
if is("Complete") and conditions["Complete"].observedGeneration == obj.metadata.generation then
  return health("Healthy", "Complete")
end
return health("Suspended", "Ready") -- waits for its turn: in a queue, or for the job that it starts from

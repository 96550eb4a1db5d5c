-- Lists what makes sense now.
local function is(kind)
  for _, condition in ipairs(obj.status ~= nil and obj.status.conditions or {}) do
    if condition.type == kind then
      return condition.status == "True"
    end
  end
  return false
end

-- Whoever else wrote spec.rerun may write it again: a sync that sets git's token back would start one more run.
local function rerun_is_somebody_else_s()
  for _, entry in ipairs(obj.metadata.managedFields or {}) do
    local spec = entry.fieldsV1 ~= nil and entry.fieldsV1["f:spec"] or {}
    if spec["f:rerun"] ~= nil and entry.manager ~= "argocd-server" then
      return true
    end
  end
  return false
end

local ended = (is("Complete") or is("Failed")) and obj.spec.rerun == obj.status.rerun
local actions = {}
if obj.spec.suspend then
  actions["resume"] = {displayName = "Resume", iconClass = "fa fa-fw fa-play"}
elseif not ended then
  actions["suspend"] = {displayName = "Suspend", iconClass = "fa fa-fw fa-pause"}
end
if ended and not rerun_is_somebody_else_s() then
  actions["rerun"] = {displayName = "Run again", iconClass = "fa fa-fw fa-redo"}
end
return actions

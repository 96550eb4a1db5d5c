// Command argocd-lua says what Argo CD makes of objects: it runs the scripts of an argocd-cm with Argo CD's own Lua runner.
//
//	argocd-lua argocd-cm.yaml < requests > answers
//
// A line of input is {"object": {...}, "action": "NAME"}, its answer a line {"health": {...}, "actions": [...], "object": {...}}:
// health and available actions, and, with an action, the object that it makes, or in "error" why it refuses.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/health"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

type request struct {
	Object map[string]any `json:"object"`
	Action string         `json:"action"`
}

type answer struct {
	Health  *health.HealthStatus      `json:"health"`
	Actions []v1alpha1.ResourceAction `json:"actions"`
	Object  map[string]any            `json:"object,omitempty"`
	Error   string                    `json:"error,omitempty"`
}

func main() {
	overrides, err := read(os.Args[1])
	exitOn(err)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var asked request
		// Argo CD's objects come from the API server: whole numbers are int64, not float64.
		object := &unstructured.Unstructured{}
		exitOn(json.Unmarshal(lines.Bytes(), &asked))
		raw, err := json.Marshal(asked.Object)
		exitOn(err)
		exitOn(object.UnmarshalJSON(raw))
		told, err := tell(overrides, object, asked.Action)
		exitOn(err)
		exitOn(json.NewEncoder(os.Stdout).Encode(told))
	}
	exitOn(lines.Err())
}

// read takes the scripts out of an argocd-cm, under the keys that Argo CD's settings look for.
func read(path string) (map[string]v1alpha1.ResourceOverride, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config corev1.ConfigMap
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		return nil, err
	}
	overrides := map[string]v1alpha1.ResourceOverride{}
	for key, value := range config.Data {
		part, kind, found := strings.Cut(strings.TrimPrefix(key, "resource.customizations."), ".")
		if !found {
			return nil, fmt.Errorf("%s: no key of resource customizations", key)
		}
		kind = strings.ReplaceAll(kind, "_", "/")
		override := overrides[kind]
		switch part {
		case "health":
			override.HealthLua = value
		case "actions":
			override.Actions = value
		default:
			return nil, fmt.Errorf("%s: unknown", key)
		}
		overrides[kind] = override
	}
	return overrides, nil
}

// tell does what Argo CD's controller does to show an object, and its server to run an action.
func tell(overrides map[string]v1alpha1.ResourceOverride, object *unstructured.Unstructured, action string) (*answer, error) {
	seen, err := health.GetResourceHealth(object, lua.ResourceHealthOverrides(overrides))
	if err != nil {
		return nil, err
	}
	machine := lua.VM{ResourceOverrides: overrides}
	discovery, err := machine.GetResourceActionDiscovery(object)
	if err != nil {
		return nil, err
	}
	actions, err := machine.ExecuteResourceActionDiscovery(object, discovery)
	if err != nil {
		return nil, err
	}
	told := &answer{Health: seen, Actions: actions}
	if action != "" {
		if told.Object, err = run(machine, object, action); err != nil {
			told.Error = err.Error()
		}
	}
	return told, nil
}

func run(machine lua.VM, object *unstructured.Unstructured, action string) (map[string]any, error) {
	definition, err := machine.GetResourceAction(object, action)
	if err != nil {
		return nil, err
	}
	made, err := machine.ExecuteResourceAction(object, definition.ActionLua)
	if err != nil {
		return nil, err
	}
	if len(made) != 1 || made[0].K8SOperation != lua.PatchOperation {
		return nil, fmt.Errorf("action %s: not one patch of the object itself: %v", action, made)
	}
	return made[0].UnstructuredObj.Object, nil
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

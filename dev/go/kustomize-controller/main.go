// Command flux-health says what Flux makes of objects: kstatus' verdict, and that of the healthCheckExprs of Kustomizations.
//
//	flux-health kustomization.yaml... < objects > verdicts
//
// A line of input is an object, its answer a line {"kstatus": "...", "exprs": ["...", ...]}: one word for each Kustomization.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

type verdict struct {
	Kstatus status.Status   `json:"kstatus"`
	Message string          `json:"message"`
	Exprs   []status.Status `json:"exprs"`
}

func main() {
	var checks [][]kustomize.CustomHealthCheck
	for _, path := range os.Args[1:] {
		text, err := os.ReadFile(path)
		exitOn(err)
		var kustomization kustomizev1.Kustomization
		exitOn(yaml.UnmarshalStrict(text, &kustomization))
		checks = append(checks, kustomization.Spec.HealthCheckExprs)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		object := &unstructured.Unstructured{}
		exitOn(object.UnmarshalJSON(lines.Bytes()))
		seen, err := judge(object, checks)
		exitOn(err)
		exitOn(json.NewEncoder(os.Stdout).Encode(seen))
	}
	exitOn(lines.Err())
}

func judge(object *unstructured.Unstructured, checks [][]kustomize.CustomHealthCheck) (*verdict, error) {
	generic, err := status.Compute(object)
	if err != nil {
		return nil, err
	}
	seen := &verdict{Kstatus: generic.Status, Message: generic.Message, Exprs: []status.Status{}}
	for _, of := range checks {
		word, err := evaluate(object, of)
		if err != nil {
			return nil, err
		}
		seen.Exprs = append(seen.Exprs, word)
	}
	return seen, nil
}

// evaluate takes the check that Flux would take: the one of the object's kind.
func evaluate(object *unstructured.Unstructured, checks []kustomize.CustomHealthCheck) (status.Status, error) {
	for _, check := range checks {
		if check.APIVersion != object.GetAPIVersion() || check.Kind != object.GetKind() {
			continue
		}
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return "", err
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			return "", err
		}
		return result.Status, nil
	}
	return "", fmt.Errorf("no health check for %s", object.GetKind())
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

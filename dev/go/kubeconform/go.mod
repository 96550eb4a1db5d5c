module alignment-operator.io/dev/go/kubeconform

go 1.26

require github.com/yannh/kubeconform v0.8.0

require (
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/hashicorp/go-retryablehttp v0.7.8 // indirect
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.2 // indirect
	go.yaml.in/yaml/v2 v2.4.3 // indirect
	golang.org/x/text v0.31.0 // indirect
	k8s.io/kube-openapi v0.0.0-20250910181357-589584f1c912 // indirect
	k8s.io/utils v0.0.0-20251002143259-bc988d571ff4 // indirect
	sigs.k8s.io/yaml v1.6.0 // indirect
)

// Shared modules have the versions of ../kubernetes, so that what is compiled for it is not compiled again. Excluded is what
// others ask for beyond that: a replacement would not do, as Go stamps packages with the version that was asked for.
exclude (
	go.yaml.in/yaml/v2 v2.4.4
	golang.org/x/text v0.37.0
	k8s.io/kube-openapi v0.0.0-20260603220949-865597e52e25
	k8s.io/utils v0.0.0-20260210185600-b8788abfbbc2
)

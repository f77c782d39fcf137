// Command chart reads the rendered objects of a Helm chart from its standard
// input and holds them against the types that Kubernetes has for them: a field
// that does not exist, or is there twice, is an error. Of each workload it then
// says which rules of the Pod Security Standards' level "restricted" it breaks:
//
//	DaemonSet/p2pd: hostPathVolumes, hostPorts
//	StatefulSet/p2pd-scheduler: restricted
//
// It is a module of its own, as it needs a good part of Kubernetes.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprint(os.Stderr, "chart: ", line)
		}
		fmt.Fprintln(os.Stderr)
		os.Exit(1)
	}
}

// run reads documents of YAML and reports on the workloads among them. Its error
// names every object that is wrong.
func run(in io.Reader, out io.Writer) error {
	types := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(types), monitoring.AddToScheme(types)); err != nil {
		return err
	}
	decoder := serializer.NewCodecFactory(types, serializer.EnableStrict).UniversalDeserializer()
	standard, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	var wrong error
	found := 0
	for docs := yaml.NewYAMLReader(bufio.NewReader(in)); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if empty(doc) {
			continue
		}
		found++
		o, _, err := decoder.Decode(doc, nil, nil)
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%w in:\n%s", err, doc))
			continue
		}
		if meta, spec := pod(o); spec != nil {
			fmt.Fprintf(out, "%s/%s: %s\n", o.GetObjectKind().GroupVersionKind().Kind, o.(metav1.Object).GetName(), verdict(standard, meta, spec))
		}
	}
	if found == 0 && wrong == nil {
		return errors.New("there is no object in the input")
	}
	return wrong
}

// empty reports whether a document has comments only.
func empty(doc []byte) bool {
	for line := range strings.Lines(string(doc)) {
		if line = strings.TrimSpace(line); line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// pod is what a workload makes pods of; nil if it makes none.
func pod(o runtime.Object) (*metav1.ObjectMeta, *corev1.PodSpec) {
	switch w := o.(type) {
	case *appsv1.DaemonSet:
		return &w.Spec.Template.ObjectMeta, &w.Spec.Template.Spec
	case *appsv1.StatefulSet:
		return &w.Spec.Template.ObjectMeta, &w.Spec.Template.Spec
	case *appsv1.Deployment:
		return &w.Spec.Template.ObjectMeta, &w.Spec.Template.Spec
	case *batchv1.Job:
		return &w.Spec.Template.ObjectMeta, &w.Spec.Template.Spec
	case *batchv1.CronJob:
		return &w.Spec.JobTemplate.Spec.Template.ObjectMeta, &w.Spec.JobTemplate.Spec.Template.Spec
	case *corev1.Pod:
		return &w.ObjectMeta, &w.Spec
	}
	return nil, nil
}

// verdict is "restricted", or the rules of that level that a pod breaks.
func verdict(standard policy.Evaluator, meta *metav1.ObjectMeta, spec *corev1.PodSpec) string {
	var broken []string
	for _, r := range standard.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, meta, spec) {
		if !r.Allowed {
			broken = append(broken, r.ForbiddenReason+" ("+r.ForbiddenDetail+")")
		}
	}
	if broken == nil {
		return "restricted"
	}
	slices.Sort(broken)
	return strings.Join(broken, "; ")
}

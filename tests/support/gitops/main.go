// What GitOps tools make of an object, said by the libraries that they are built from, and what kustomize builds of a
// folder. The tests of docs/gitops call it; nothing of the product does.
//
//	gitops health     reads a JSON list of questions on stdin, writes the list of answers
//	gitops kustomize  builds the folders given as arguments, as `kustomize build` does, and writes {folder: [objects]}
//	gitops flux       reads a JSON list of Flux objects on stdin, fails on the first that its API types do not know
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/tidwall/gjson"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	luajson "layeh.com/gopher-json"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Argo CD gives a health script one second.
const luaLimit = time.Second

type question struct {
	Object map[string]any `json:"object"`
	// Expressions of a Flux Kustomization's healthCheckExprs for the object's kind; absent: not asked.
	Flux *kustomize.HealthCheckExpressions `json:"flux,omitempty"`
	// Text of a health.lua; absent: not asked.
	Lua string `json:"lua,omitempty"`
	// Conditions of an Argo Workflows resource template; absent: not asked.
	Workflow *struct {
		Success string `json:"successCondition"`
		Failure string `json:"failureCondition"`
	} `json:"workflow,omitempty"`
}

type answer struct {
	Kstatus verdict  `json:"kstatus"`
	Flux    *verdict `json:"flux,omitempty"`
	Argo    *verdict `json:"argo,omitempty"`
	// Succeeded, Failed or Waiting, as the executor of a resource template decides at every poll.
	Workflow *verdict `json:"workflow,omitempty"`
}

type verdict struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: gitops health | gitops kustomize FOLDER... | gitops flux"))
	}
	switch os.Args[1] {
	case "health":
		fail(answerAll())
	case "kustomize":
		fail(buildAll(os.Args[2:]))
	case "flux":
		fail(judgeFlux())
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answerAll() error {
	var raw []struct {
		Object json.RawMessage `json:"object"`
	}
	var questions []question
	decoder := json.NewDecoder(os.Stdin)
	var body json.RawMessage
	if err := decoder.Decode(&body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, &questions); err != nil {
		return err
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return err
	}
	answers := make([]answer, 0, len(questions))
	for i, asked := range questions {
		// This decoder alone makes integers int64, as the API machinery has them; kstatus refuses floats.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw[i].Object); err != nil {
			return fmt.Errorf("object %d: %w", i, err)
		}
		given := answer{Kstatus: byKstatus(object)}
		if asked.Flux != nil {
			found := byFlux(object, asked.Flux)
			given.Flux = &found
		}
		if asked.Lua != "" {
			found := byArgo(object, asked.Lua)
			given.Argo = &found
		}
		if asked.Workflow != nil {
			found := byWorkflow(raw[i].Object, asked.Workflow.Success, asked.Workflow.Failure)
			given.Workflow = &found
		}
		answers = append(answers, given)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func byKstatus(object *unstructured.Unstructured) verdict {
	result, err := status.Compute(object)
	if err != nil {
		return verdict{Error: err.Error()}
	}
	return verdict{Status: result.Status.String(), Message: result.Message}
}

func byFlux(object *unstructured.Unstructured, expressions *kustomize.HealthCheckExpressions) verdict {
	evaluator, err := cel.NewStatusEvaluator(expressions)
	if err != nil {
		return verdict{Error: err.Error()}
	}
	result, err := evaluator.Evaluate(context.Background(), object)
	if err != nil {
		return verdict{Error: err.Error()}
	}
	return verdict{Status: result.Status.String(), Message: result.Message}
}

// byArgo opens what Argo CD's util/lua opens for a script of argocd-cm (the base, package and table libraries; no
// string, math or io) but for its own clock functions, which a health script of ours has no use for.
func byArgo(object *unstructured.Unstructured, script string) verdict {
	// gitops-engine's GetResourceHealth comes before any script.
	if object.GetDeletionTimestamp() != nil {
		return verdict{Status: "Progressing", Message: "Pending deletion"}
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return verdict{Error: err.Error()}
		}
	}
	limited, cancel := context.WithTimeout(context.Background(), luaLimit)
	defer cancel()
	state.SetContext(limited)
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		return verdict{Error: err.Error()}
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return verdict{Error: "expect table output from Lua script, not " + returned.Type().String()}
	}
	text, err := luajson.Encode(returned)
	if err != nil {
		return verdict{Error: err.Error()}
	}
	var found struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return verdict{Error: err.Error()}
	}
	switch found.Status {
	case "Unknown", "Progressing", "Suspended", "Healthy", "Degraded", "Missing":
		return verdict{Status: found.Status, Message: found.Message}
	}
	return verdict{Status: "Unknown", Message: "Lua returned an invalid health status"}
}

// toLua does what util/lua's decodeValue does: the JSON package does not know the integers of the API machinery.
func toLua(state *lua.LState, value any) lua.LValue {
	switch converted := value.(type) {
	case int64:
		return lua.LNumber(converted)
	case []any:
		list := state.CreateTable(len(converted), 0)
		for _, item := range converted {
			list.Append(toLua(state, item))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(converted))
		for key, item := range converted {
			table.RawSetH(lua.LString(key), toLua(state, item))
		}
		return table
	}
	return luajson.DecodeValue(state, value)
}

// byWorkflow decides as workflow/executor/resource.go does: conditions are label selectors over gjson paths, one
// requirement of the failure condition is enough, all of the success condition are needed.
func byWorkflow(object json.RawMessage, success string, failure string) verdict {
	wanted, err := labels.ParseToRequirements(success)
	if err != nil {
		return verdict{Error: err.Error()}
	}
	feared, err := labels.ParseToRequirements(failure)
	if err != nil {
		return verdict{Error: err.Error()}
	}
	fields := paths{object}
	for _, requirement := range feared {
		if requirement.Matches(fields) {
			return verdict{Status: "Failed"}
		}
	}
	for _, requirement := range wanted {
		if !requirement.Matches(fields) {
			return verdict{Status: "Waiting"}
		}
	}
	return verdict{Status: "Succeeded"}
}

// paths looks labels up as paths of a document.
type paths struct{ document []byte }

func (p paths) Has(label string) bool   { return gjson.GetBytes(p.document, label).Exists() }
func (p paths) Get(label string) string { return gjson.GetBytes(p.document, label).String() }
func (p paths) Lookup(label string) (string, bool) {
	found := gjson.GetBytes(p.document, label)
	return found.String(), found.Exists()
}

func judgeFlux() error {
	var documents []json.RawMessage
	if err := json.NewDecoder(os.Stdin).Decode(&documents); err != nil {
		return err
	}
	for _, document := range documents {
		kind := gjson.GetBytes(document, "kind").String()
		known := map[string]any{
			"Kustomization": &kustomizev1.Kustomization{}, "HelmRelease": &helmv2.HelmRelease{},
			"GitRepository": &sourcev1.GitRepository{},
		}[kind]
		if known == nil {
			return fmt.Errorf("no type for the kind %q", kind)
		}
		wrong, err := strictjson.UnmarshalStrict(document, known)
		if err == nil {
			err = errors.Join(wrong...)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, gjson.GetBytes(document, "metadata.name"), err)
		}
	}
	return nil
}

func buildAll(folders []string) error {
	built := make(map[string]any, len(folders))
	for _, folder := range folders {
		found, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
		if err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		objects := make([]map[string]any, 0, found.Size())
		for _, resource := range found.Resources() {
			object, err := resource.Map()
			if err != nil {
				return fmt.Errorf("%s: %w", folder, err)
			}
			objects = append(objects, object)
		}
		built[folder] = objects
	}
	return json.NewEncoder(os.Stdout).Encode(built)
}

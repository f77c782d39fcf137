package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// spdxType is the media type of a bill of materials in SPDX's JSON.
const spdxType = types.MediaType("application/spdx+json")

// bill is the image's software bill of materials, out of what Go wrote into the
// binary: an artifact that refers to the image, where `oras discover` and
// scanners find it.
func (b platformImage) bill(p program, version string) (v1.Image, error) {
	info, err := buildinfo.ReadFile(b.binary)
	if err != nil {
		return nil, fmt.Errorf("what %s is made of: %w", b.binary, err)
	}
	besides, err := buildinfo.ReadFile(b.tool)
	if err != nil {
		return nil, fmt.Errorf("what %s is made of: %w", b.tool, err)
	}
	info.Deps = union(info.Deps, besides.Deps)
	digest, err := b.Digest()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(spdx(p, version, digest, info), "", " ")
	if err != nil {
		return nil, err
	}
	made, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{Layer: static.NewLayer(text, spdxType)})
	if err != nil {
		return nil, err
	}
	subject, err := partial.Descriptor(b.Image)
	if err != nil {
		return nil, err
	}
	about, ok := mutate.Subject(mutate.ConfigMediaType(made, spdxType), *subject).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("make an artifact about %s", digest)
	}
	return about, nil
}

// union is the modules of two programs, which one go.mod names.
func union(a, b []*debug.Module) []*debug.Module {
	for _, m := range b {
		if !slices.ContainsFunc(a, func(have *debug.Module) bool { return have.Path == m.Path }) {
			a = append(a, m)
		}
	}
	return a
}

type spdxPackage struct {
	ID               string    `json:"SPDXID"`
	Name             string    `json:"name"`
	Version          string    `json:"versionInfo"`
	DownloadLocation string    `json:"downloadLocation"`
	FilesAnalyzed    bool      `json:"filesAnalyzed"`
	Refs             []spdxRef `json:"externalRefs,omitempty"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelation struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// spdx is a document of SPDX 2.3.
func spdx(p program, version string, digest v1.Hash, info *debug.BuildInfo) map[string]any {
	pkg := func(id, path, version string) spdxPackage {
		return spdxPackage{
			ID: "SPDXRef-" + id, Name: path, Version: version, DownloadLocation: "NOASSERTION",
			Refs: []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + path + "@" + version}},
		}
	}
	packages := []spdxPackage{
		pkg("main", info.Main.Path+"/cmd/"+p.name, version),
		pkg("go", "stdlib", strings.TrimPrefix(info.GoVersion, "go")),
	}
	relations := []spdxRelation{{"SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-main"}, {"SPDXRef-main", "DEPENDS_ON", "SPDXRef-go"}}
	for i, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		id := fmt.Sprint("module-", i)
		packages = append(packages, pkg(id, m.Path, m.Version))
		relations = append(relations, spdxRelation{"SPDXRef-main", "DEPENDS_ON", "SPDXRef-" + id})
	}
	return map[string]any{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
		"name": p.name + " " + version, "documentNamespace": "https://github.com/p2pd/p2pd/spdx/" + p.name + "/" + digest.Hex,
		"creationInfo": map[string]any{"created": epoch.Format("2006-01-02T15:04:05Z"), "creators": []string{"Tool: p2pd-images"}},
		"packages":     packages, "relationships": relations,
	}
}

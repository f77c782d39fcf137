package lab

import (
	"encoding/base64"
	"strings"
)

// Tenant is a user of the lab's secured registries.
type Tenant struct {
	Name     string
	Password string
	// Owns is the prefix of the repositories that nobody else may pull, where
	// the registry tells tenants apart.
	Owns string

	hash string // bcrypt's of the password, at a cost that tests can afford
}

// PublicPrefix is of the repositories that everybody may pull.
const PublicPrefix = "pub/"

// Alice is one tenant.
func Alice() Tenant {
	return Tenant{"alice", "correct-horse-battery", "team-a/", "$2a$05$8p/HJLpqpOSemxdupyLa4uYssG1hP2AfLXti2oedx96ekSg/21qRO"}
}

// Bob is another.
func Bob() Tenant {
	return Tenant{"bob", "tr0ub4dor-and-three", "team-b/", "$2a$05$S1gKnd4QlTktHME2jMx1duBtchYDDK41VQ2cPmORWiLGusOM6g756"}
}

// Login is the tenant as ctr's --user wants it.
func (t Tenant) Login() string { return t.Name + ":" + t.Password }

// Basic is the Authorization header that shows the tenant's password.
func (t Tenant) Basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(t.Login()))
}

// may reports whether a repository is the tenant's or everybody's. Somebody
// without a name owns none.
func (t Tenant) may(repository string) bool {
	return strings.HasPrefix(repository, PublicPrefix) || t.Owns != "" && strings.HasPrefix(repository, t.Owns)
}

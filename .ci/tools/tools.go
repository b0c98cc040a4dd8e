// Package tools checks what is in deploy, and the Dockerfile, with the programs and libraries that will read them. It is a
// module of its own, so that what it needs is no part of the service. Run it by .ci/deploy, which installs the programs.
package tools

import "fmt"

// deploy is the folder that is checked.
const deploy = "../../deploy"

// goMemLimit returns what GOMEMLIMIT should be where memory is limited to that many bytes: nine tenths, in MiB.
func goMemLimit(limit int64) string { return fmt.Sprintf("%dMiB", limit>>20*9/10) }

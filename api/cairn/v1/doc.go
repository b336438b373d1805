// Package cairnv1 is the generated schema of the API.
package cairnv1

package config

import (
	"fmt"
	"strings"
)

// Configured says whether there is a database.
func (d Database) Configured() bool { return d.URL != (Secret{}) || d.Host != "" }

// ConnString gives how to reach the database as one text, a URL or keywords
// with values, which libpq and pgx read alike; "" where there is no database.
// It holds the password.
func (d Database) ConnString() string {
	if d.URL != (Secret{}) {
		return d.URL.Reveal()
	}
	if d.Host == "" {
		return ""
	}
	text := fmt.Sprintf("host=%s port=%d sslmode=%s", quote(d.Host), d.Port, quote(d.SSLMode))
	for _, part := range []struct{ keyword, value string }{
		{"user", d.User}, {"password", d.Password.Reveal()}, {"dbname", d.Name},
	} {
		if part.value != "" {
			text += " " + part.keyword + "=" + quote(part.value)
		}
	}
	return text
}

var quoter = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func quote(value string) string { return "'" + quoter.Replace(value) + "'" }

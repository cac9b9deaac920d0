package config

import (
	"fmt"
	"net/url"
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

func (d *decoder) checkDatabase(c *Config) {
	const at = "database."
	db := c.Database
	for key, text := range map[string]Secret{at + "url": db.URL, at + "replica_url": db.ReplicaURL} {
		if text != (Secret{}) && !isPostgres(text.Reveal()) {
			d.problem(key, "is not a URL, like postgres://user:password@host:5432/name")
		}
	}
	if !d.sound("database", at+"url", at+"host", at+"user", at+"password", at+"name", at+"port", at+"sslmode") {
		return
	}
	parts := []struct {
		key string
		set bool
	}{
		{"host", db.Host != ""}, {"user", db.User != ""}, {"password", db.Password != (Secret{})}, {"name", db.Name != ""},
	}
	for _, part := range parts {
		switch {
		case !part.set:
		case db.URL != (Secret{}):
			d.problem(at+part.key, "stands beside database.url; give one URL, or the single keys")
		case db.Host == "":
			d.warn(at+part.key, "is not used without database.host")
		}
	}
	for _, key := range []string{at + "port", at + "sslmode"} {
		if db.URL != (Secret{}) && d.given(key) {
			d.warn(key, "is not used with database.url")
		}
	}
	if db.Configured() {
		return
	}
	if db.ReplicaURL != (Secret{}) && d.sound(at+"replica_url") {
		d.problem(at+"replica_url", "needs a database to follow; set database.url or database.host")
	}
	if d.given("spool.path") {
		d.warn("spool.path", "is not used without a database")
	}
}

func isPostgres(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
}

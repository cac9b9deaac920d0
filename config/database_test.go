package config

import "testing"

func TestDatabase_ConnString(t *testing.T) {
	for _, v := range []struct {
		section, want string
	}{
		{`{}`, ``},
		{`{port: 5433, password: hunter2}`, ``},
		{`{url: "postgres://u:p%40@db/shop?sslmode=require"}`, `postgres://u:p%40@db/shop?sslmode=require`},
		{`{host: db}`, `host='db' port=5432 sslmode='prefer'`},
		{`{host: "::1", port: 5433, user: u, password: hunter2, name: shop, sslmode: disable}`,
			`host='::1' port=5433 sslmode='disable' user='u' password='hunter2' dbname='shop'`},
		{`{host: /var/run/postgresql, user: "a b", name: "the shop"}`,
			`host='/var/run/postgresql' port=5432 sslmode='prefer' user='a b' dbname='the shop'`},
		{`{host: db, password: "it's"}`, `host='db' port=5432 sslmode='prefer' password='it\'s'`},
		{`{host: db, password: 'a\b\'}`, `host='db' port=5432 sslmode='prefer' password='a\\b\\'`},
		{`{host: db, password: '\'''}`, `host='db' port=5432 sslmode='prefer' password='\\\''`},
		{`{host: db, password: " ' host='elsewhere"}`, `host='db' port=5432 sslmode='prefer' password=' \' host=\'elsewhere'`},
		{`{host: db, password: "pä%3D@:/?#="}`, `host='db' port=5432 sslmode='prefer' password='pä%3D@:/?#='`},
	} {
		db := mustLoad(t, minimal+"database: "+v.section).Database
		if got := db.ConnString(); got != v.want {
			t.Errorf("%s: got %s, want %s", v.section, got, v.want)
		}
		if got, want := db.Configured(), v.want != ""; got != want {
			t.Errorf("%s: configured %v, want %v", v.section, got, want)
		}
	}
}

package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ropeline/ropeline/admission"
	loadtest "github.com/ropeline/ropeline/crowd"
)

var (
	everyFault = flag.Bool("faults", false, "bring about every fault of the table, and print the table")
	faultSeed  = flag.Uint64("faultseed", 1, "of the crowd that meets the faults: the same seed brings the same visitors")
)

// fault is a row of the table: what is done to a sale that is under way, and
// what it may cost.
type fault struct {
	name  string
	core  bool // it is brought about with the other tests, too
	set   func(*sale)
	make  func(*sale)
	then  func(*sale) // what must be so when the crowd has gone; nil: nothing more
	costs cost
}

// cost is which requests may be left without an answer of the shop's or the
// gateway's.
type cost int

const (
	nothing   cost = iota
	inFlight       // those under way when a gateway was killed, or is not heard of
	untilBack      // all, until what was lost is back
)

// faults are the rows, by what they befall. See docs/faults.md.
var faults = []fault{
	{name: "gateway killed, alone, and started again", core: true, set: alone, costs: untilBack, make: func(s *sale) {
		for range 3 {
			s.gateways[0].Kill()
			s.gateways[0].Restart()
			s.linger(2 * time.Second)
		}
	}},
	{name: "gateway told to end, alone, and started again", set: alone, costs: untilBack, make: func(s *sale) {
		s.gateways[0].Signal(syscall.SIGTERM)
		s.gateways[0].Ended()
		s.gateways[0].Restart()
	}},
	{name: "gateway stopped for 12 s, alone", set: alone, costs: untilBack, make: func(s *sale) {
		s.gateways[0].Signal(syscall.SIGSTOP) // for longer than anyone stays present, or inside, unheard
		s.linger(12 * time.Second)
		s.gateways[0].Signal(syscall.SIGCONT)
	}},
	{name: "configuration loaded a hundred times", core: true, set: alone, costs: nothing, make: func(s *sale) {
		for i := range 100 {
			s.gateways[0].Reload(s.yaml + fmt.Sprintf("log: {access: %t}\n", i%2 == 0))
		}
	}},
	{name: "broken configuration, then a good one", set: alone, costs: nothing, make: func(s *sale) {
		if line := s.gateways[0].Reload(s.yaml + "no: such key\n"); line["level"] != "error" {
			s.t.Errorf("a broken file was answered %v", line)
		}
		s.linger(time.Second)
		s.gateways[0].Reload(s.yaml + "log: {access: false}\n")
	}},
	{name: "capacity lowered below those inside, then raised", set: alone, costs: nothing, make: func(s *sale) {
		s.limit(func(l *loadtest.Limits) { l.Capacity = 4 })
		s.linger(6 * time.Second)
		s.limit(func(l *loadtest.Limits) { l.Capacity = 2 * saleCapacity })
	}},
	{name: "rate divided by ten, then restored", set: alone, costs: nothing, make: func(s *sale) {
		s.limit(func(l *loadtest.Limits) { l.RatePerHour, l.Burst = saleRate*360, admission.Burst(saleRate*360) })
		s.linger(6 * time.Second)
		s.limit(func(l *loadtest.Limits) { *l = saleLimits() })
	}},
	{name: "paused by an operator for 6 s", set: alone, costs: nothing, make: func(s *sale) {
		s.operate("pause")
		s.linger(6 * time.Second)
		s.operate("resume")
	}},
	{name: "signing key replaced, and the old one taken out", set: aloneWithKey, costs: nothing, make: func(s *sale) {
		s.gateways[0].Reload(strings.Replace(s.yaml, keys("k1"), keys("k2", "k1"), 1))
		s.linger(8 * time.Second) // everyone is heard from, and given a ticket of the new key
		s.gateways[0].Reload(strings.Replace(s.yaml, keys("k1"), keys("k2"), 1))
	}},
	{name: "everyone comes within a second", set: atOnce, costs: nothing, make: func(s *sale) { s.linger(5 * time.Second) }},
	{name: "two thousand strangers who are slow, or silent", set: alone, costs: nothing, make: func(s *sale) {
		var slow strangers
		before := s.gateways[0].Descriptors()
		slow.come(s.t, s.gateways[0], 700, "GET /drop HTTP/1.1\r\nHost: shop\r\nA: ")
		slow.come(s.t, s.gateways[0], 700, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 100000\r\n\r\n")
		slow.come(s.t, s.gateways[0], 600, "")
		for range 8 {
			slow.drip("a")
			s.linger(time.Second)
		}
		slow.vanish()
		s.emptied(before)
	}},
	{name: "ten thousand connections that are reset at once, or midway", set: alone, costs: nothing, make: func(s *sale) {
		before := s.gateways[0].Descriptors()
		for range 100 {
			var brief strangers
			brief.come(s.t, s.gateways[0], 34, "")
			brief.come(s.t, s.gateways[0], 33, "GET /drop HTTP/1.1\r\nHost: sh")
			brief.come(s.t, s.gateways[0], 33, "GET /drop HTTP/1.1\r\nHost: shop\r\n\r\n")
			brief.vanish()
		}
		s.emptied(before)
	}},
	{name: "file descriptors taken by strangers, for 8 s", set: alone, costs: inFlight, make: func(s *sale) {
		more := s.gateways[0].Limit(unix.RLIMIT_NOFILE, uint64(s.gateways[0].Descriptors()+100))
		var silent strangers
		silent.come(s.t, s.gateways[0], 400, "GET /drop HTTP/1.1\r\nHost: shop\r\nA: ")
		for range 8 {
			s.linger(time.Second)
			if got := s.gateways[0].Ready(); got != http.StatusOK {
				s.t.Errorf("/readyz says %d, want 200", got)
			}
		}
		silent.vanish()
		more()
	}},
	{name: "disk of the line's file full for 6 s, then a kill", set: alone, costs: untilBack, make: func(s *sale) {
		room := s.gateways[0].Limit(unix.RLIMIT_FSIZE, 0)
		s.await("the gateway says so", func() bool { return !s.healthy() })
		s.linger(6 * time.Second)
		room()
		s.await("the file is written again", s.healthy)
		s.gateways[0].Kill()
		s.gateways[0].Restart()
	}},
	{name: "PostgreSQL away at the start, back, killed, and back", set: recordedSale, costs: nothing, make: func(s *sale) {
		s.database.Start(s.t)
		s.linger(4 * time.Second)
		s.database.Stop()
		s.linger(4 * time.Second)
		s.database.Start(s.t)
	}, then: recordedWhole},
	{name: "PostgreSQL slow, then out of connections, then silent", set: recordedSale, costs: nothing, make: func(s *sale) {
		s.database.Start(s.t)
		s.link.Latency(time.Second, 500*time.Millisecond)
		s.linger(4 * time.Second)
		s.link.Heal()
		s.database.Exec(s.t, s.record, "ALTER ROLE keeper CONNECTION LIMIT 0")
		s.link.Reset()
		s.linger(4 * time.Second)
		s.database.Exec(s.t, s.record, "ALTER ROLE keeper CONNECTION LIMIT -1")
		s.link.BlackHole()
		s.linger(4 * time.Second)
		s.link.Heal()
	}, then: recordedWhole},
	{name: "shop gone, then back", set: alone, costs: untilBack, make: func(s *sale) {
		s.shop.Close()
		s.linger(4 * time.Second)
		s.shop.Open()
	}},
	{name: "shop hangs for 6 s", set: behindLink, costs: untilBack, make: func(s *sale) {
		s.link.BlackHole()
		s.linger(6 * time.Second)
		s.link.Heal()
	}},
	{name: "shop answers 503 with Retry-After for 10 s", set: behindLink, costs: untilBack, make: func(s *sale) {
		mark := s.gateways[0].Log.Mark()
		s.shop.Busy(true)
		s.linger(10 * time.Second)
		s.shop.Busy(false)
		s.gateways[0].Log.Await(s.t, mark, "that the shop asks for time", func(l entry) bool { return l["message"] == "upstream asks for time" })
	}},
	{name: "shop up and down each second", set: alone, costs: untilBack, make: func(s *sale) {
		for range 4 {
			s.shop.Close()
			s.linger(time.Second)
			s.shop.Open()
			s.linger(time.Second)
		}
	}},
	{name: "one of three gateways killed", set: three, costs: inFlight, make: func(s *sale) { s.gateways[0].Kill() }},
	{name: "one of three gateways stopped for 6 s", set: three, costs: inFlight, make: func(s *sale) {
		s.gateways[0].Signal(syscall.SIGSTOP)
		s.linger(6 * time.Second)
		s.gateways[0].Signal(syscall.SIGCONT)
	}},
	{name: "one of three gateways cut off from Redis for 6 s", set: threeApart, costs: nothing, make: func(s *sale) {
		s.link.BlackHole()
		s.linger(6 * time.Second)
		s.link.Heal()
	}},
	{name: "one of three told to end amid downloads, streams and sockets", set: three, costs: nothing, make: func(s *sale) {
		var long endless
		long.begin(s.t, s.gateways[0], 5)
		s.gateways[0].Signal(syscall.SIGTERM)
		s.linger(3 * time.Second)
		s.shop.Continue()
		long.ended(s.t)
		if state := s.gateways[0].Ended(); state.ExitCode() != 0 {
			s.t.Errorf("a gateway that was told to end ended with %v", state)
		}
		s.gateways[0].Restart()
	}},
	{name: "each of three gateways replaced in turn", core: true, set: three, costs: nothing, make: func(s *sale) {
		for _, g := range s.gateways {
			g.Signal(syscall.SIGTERM)
			if state := g.Ended(); state.ExitCode() != 0 {
				s.t.Errorf("a gateway that was told to end ended with %v", state)
			}
			g.Restart()
			s.await("it is ready", func() bool { return g.Ready() == http.StatusOK })
		}
	}},
	{name: "Redis killed, and started again with its file", set: three, costs: nothing, make: func(s *sale) {
		s.redis.Kill()
		s.linger(time.Second)
		s.redis.Restart()
	}},
	{name: "Redis killed, and started again empty", set: three, costs: nothing, make: func(s *sale) {
		s.redis.Kill()
		s.redis.Wipe()
		s.redis.Restart()
	}},
	{name: "FLUSHALL, twice", core: true, set: three, costs: nothing, make: func(s *sale) {
		s.redis.Do(s.t.Context(), "flushall")
		s.linger(4 * time.Second)
		s.redis.Do(s.t.Context(), "flushall")
	}},
	{name: "FLUSHALL while a gateway is killed, keys in the file", set: threeWithKeys, costs: inFlight, make: func(s *sale) {
		s.gateways[1].Kill()
		s.redis.Do(s.t.Context(), "flushall")
		s.gateways[1].Restart()
	}},
	{name: "Redis stopped for 5 s", set: three, costs: nothing, make: func(s *sale) {
		s.redis.Pause()
		s.linger(5 * time.Second)
		s.redis.Resume()
	}},
	{name: "Redis 300 ms away, give or take 50", set: three, costs: nothing, make: func(s *sale) {
		s.link.Latency(300*time.Millisecond, 50*time.Millisecond)
		s.linger(6 * time.Second)
		s.link.Heal()
	}},
	{name: "what is sent to Redis vanishes, for 5 s", set: three, costs: nothing, make: func(s *sale) {
		s.link.BlackHole()
		s.linger(5 * time.Second)
		s.link.Heal()
	}},
	{name: "128 kbit/s to Redis for 10 s", set: three, costs: nothing, make: func(s *sale) {
		s.link.Bandwidth(16_000)
		s.linger(10 * time.Second)
		s.link.Heal()
	}},
	{name: "connections to Redis reset, ten times", set: three, costs: nothing, make: func(s *sale) {
		for range 10 {
			s.link.Reset()
			s.linger(300 * time.Millisecond)
		}
	}},
	{name: "answers of Redis cut off midway, ten times", set: three, costs: nothing, make: func(s *sale) {
		for range 10 {
			<-s.link.CutAfter(40)
		}
	}},
	{name: "SCRIPT FLUSH", set: three, costs: nothing, make: func(s *sale) { s.redis.Do(s.t.Context(), "script", "flush") }},
	{name: "Redis takes no writes, then is out of memory", set: three, costs: nothing, make: func(s *sale) {
		s.redis.Do(s.t.Context(), "replicaof", "127.0.0.1", "1")
		s.linger(2 * time.Second)
		s.redis.Do(s.t.Context(), "replicaof", "no", "one")
		s.redis.Config("maxmemory", "1mb")
		s.linger(2 * time.Second)
		s.redis.Config("maxmemory", "0")
	}},
	{name: "Redis busy with a script for 4 s", set: three, costs: nothing, make: func(s *sale) {
		s.redis.Config("busy-reply-threshold", "100")
		go s.redis.Try(s.t.Context(), "eval", "while true do end", 0)
		s.linger(4 * time.Second)
		s.redis.Do(s.t.Context(), "script", "kill")
	}},
	{name: "Redis started again an hour ahead, then an hour behind", set: three, costs: nothing, make: func(s *sale) {
		for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
			s.redis.Kill()
			s.redis.SetClock(ahead)
			s.redis.Restart()
			s.linger(6 * time.Second)
		}
	}},
	{name: "Redis loads its data for 3 s", set: three, costs: nothing, make: func(s *sale) { s.redis.RestartLoading(3 * time.Second) }},
	{name: "Sentinel: the master killed", set: watched, costs: nothing, make: func(s *sale) {
		s.sentinels.WaitFailover(s.bounded(), s.sentinels.KillMaster())
	}},
	{name: "Sentinel: the master killed, with a replica to wait for", set: lasting, costs: nothing, make: func(s *sale) {
		old := s.sentinels.KillMaster()
		s.sentinels.WaitFailover(s.bounded(), old)
		old.Restart() // as the replica that each write must reach
	}},
	{name: "Sentinel: the master told to hand over", set: watched, costs: nothing, make: func(s *sale) {
		old := s.sentinels.Master()
		s.sentinels.Sentinels[0].Do(s.t.Context(), "sentinel", "failover", s.sentinels.MasterName)
		s.sentinels.WaitFailover(s.bounded(), old)
	}},
	{name: "Sentinel: the master cut off with a gateway, then back", set: parted, costs: nothing, make: func(s *sale) {
		old := s.sentinels.Master()
		s.sentinels.Part(old.Name, s.sentinels.Sentinels[0].Name, "gateway-1")
		s.sentinels.WaitFailover(s.bounded(), old)
		if role := old.Do(s.t.Context(), "role").([]any)[0]; role != "master" {
			s.t.Errorf("on the side that is cut off there is a %v, want a second master", role)
		}
		s.linger(4 * time.Second)
		s.sentinels.Mend()
	}},
	{name: "Cluster: the line's master killed", set: clustered, costs: nothing, make: func(s *sale) {
		s.nodes.WaitFailover(s.bounded(), saleLine, s.nodes.KillMasterOf(saleLine))
	}},
	{name: "Cluster: nobody has the line's slot for 3 s", set: clustered, costs: nothing, make: func(s *sale) {
		restore := s.nodes.DropSlot(saleLine)
		s.linger(3 * time.Second)
		restore()
	}},
	{name: "Cluster: the line's slot moved", set: clustered, costs: nothing, make: func(s *sale) { s.nodes.MoveSlot(saleLine, nil) }},
}

func TestFaults_CostNoOneWhatWasPromised(t *testing.T) {
	var rows faultTable
	t.Run("of", func(t *testing.T) {
		for _, f := range faults {
			if !f.core && !*everyFault {
				continue
			}
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				rows.add(f.name, meet(t, f))
			})
		}
	})
	if *everyFault {
		fmt.Println(rows.markdown())
	}
}

// faultTable collects the rows, in whatever order they come.
type faultTable struct {
	mu   sync.Mutex // guards rows
	rows map[string]recovery
}

func (f *faultTable) add(name string, r recovery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rows == nil {
		f.rows = map[string]recovery{}
	}
	f.rows[name] = r
}

func (f *faultTable) markdown() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	b.WriteString("| fault | visitors | requests without an answer | first join after it | first entry after it |\n|---|---|---|---|---|\n")
	for _, row := range faults {
		if r, ok := f.rows[row.name]; ok {
			fmt.Fprintf(&b, "| %s | %d | %d | %.1f s | %.1f s |\n", row.name, r.visitors, r.unanswered, r.joined.Seconds(), r.entered.Seconds())
		}
	}
	longest := slices.MaxFunc(faults, func(a, b fault) int { return int(f.rows[a.name].entered - f.rows[b.name].entered) })
	fmt.Fprintf(&b, "\nThe longest recovery was %.1f s, of: %s.\n", f.rows[longest.name].entered.Seconds(), longest.name)
	return b.String()
}

// TestFaults_TheDocumentNamesWhatIsThere holds docs/faults.md to the rows and
// the tests that it names.
func TestFaults_TheDocumentNamesWhatIsThere(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, f := range faults {
		rows[f.name] = true
		if !bytes.Contains(document, []byte("\n| "+f.name+" | ")) || !bytes.Contains(document, []byte("*"+f.name+"*")) {
			t.Errorf("the row %q does not stand in both tables", f.name)
		}
	}
	for _, named := range regexp.MustCompile(`\*([^*|]+)\*[,;) ]`).FindAllSubmatch(document, -1) {
		if name := string(named[1]); !rows[name] {
			t.Errorf("there is no row %q", name)
		}
	}
	var tests strings.Builder
	err = fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(path, ".") && path != ".":
			return fs.SkipDir
		case d.IsDir():
		case strings.HasSuffix(path, "_test.go") || filepath.Dir(path) == "admission/admissiontest":
			text, err := os.ReadFile(filepath.Join("..", path))
			tests.Write(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range regexp.MustCompile("`(?:(Test[A-Za-z0-9]+_\\w+)|[a-z]+/(\\w+))`").FindAllStringSubmatch(string(document), -1) {
		if test, part := named[1], named[2]; test != "" && !strings.Contains(tests.String(), "\nfunc "+test+"(") || part != "" && !strings.Contains(tests.String(), `("`+part+`", `) {
			t.Errorf("there is no test %s%s", test, part)
		}
	}
}

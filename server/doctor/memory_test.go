package doctor

import "testing"

func TestMemory(t *testing.T) {
	info := map[string]string{"proc/meminfo": "MemTotal:        1048576 kB\nMemFree: 1 kB\n"}
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"the machine's", nil, 1 << 30},
		{"version 2", map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "268435456\n"}, 256 << 20},
		{"version 2, none", map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 1 << 30},
		{"version 1", map[string]string{"proc/self/cgroup": "4:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "134217728\n"}, 128 << 20},
		{"a container", map[string]string{"proc/self/cgroup": "0::/outside\n", "sys/fs/cgroup/memory.max": "268435456\n"}, 256 << 20},
	} {
		files := map[string]string{}
		for _, m := range []map[string]string{info, test.files} {
			for k, v := range m {
				files[k] = v
			}
		}
		if got := machine(t, files).Memory(); got != test.want {
			t.Errorf("%s: %d bytes, want %d", test.name, got, test.want)
		}
	}
}

func TestSizing(t *testing.T) {
	s := machine(t, map[string]string{"proc/meminfo": "MemTotal: 1048576 kB\n", "proc/self/limits": limits("20000", "1")})
	for _, test := range []struct {
		name                string
		bounds              Bounds
		memory, descriptors Status
	}{
		{"defaults on a small machine", Bounds{Loops: 2, Buffers: 64 << 20}, OK, OK},
		{"too many connections", Bounds{Loops: 2, Buffers: 64 << 20, Connections: 200_000}, Warning, Warning},
		{"too much for input", Bounds{Loops: 2, Buffers: 2 << 30}, Warning, OK},
		{"TLS", Bounds{Loops: 2, Buffers: 64 << 20, TLS: true}, OK, OK},
		{"many of TLS", Bounds{Loops: 1, Buffers: 64 << 20, Connections: 10_000, TLS: true}, Warning, Warning},
	} {
		r := Sizing(s, test.bounds)
		if m, d := r.find("memory"), r.find("descriptors"); m.Status != test.memory || d.Status != test.descriptors {
			t.Errorf("%s: %+v\n%+v", test.name, m, d)
		}
		for _, f := range r {
			if f.Found == "" || (f.Status == Warning) != (f.Mend != "") {
				t.Errorf("%s: %+v", test.name, f)
			}
		}
	}
}

package sys

import (
	"os"
	"path/filepath"
	"testing"
)

// The last cache is that of the highest level, whatever the order of the directories.
func TestLastLevelCache(t *testing.T) {
	dir := t.TempDir()
	for i, c := range []map[string]string{
		{"level": "1", "size": "32K", "shared_cpu_list": "0"},
		{"level": "3", "size": "32768K", "shared_cpu_list": "0-3,8-11,16"},
		{"level": "2", "size": "512K", "shared_cpu_list": "0"},
		{"level": "4"},
	} {
		index := filepath.Join(dir, "index"+string(rune('0'+i)))
		if err := os.Mkdir(index, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range c {
			if err := os.WriteFile(filepath.Join(index, name), []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if bytes, shared := lastLevelCache(filepath.Join(dir, "index*")); bytes != 32<<20 || shared != 9 {
		t.Errorf("%d bytes, shared by %d", bytes, shared)
	}
	if bytes, _ := lastLevelCache(filepath.Join(dir, "none*")); bytes != 0 {
		t.Errorf("%d bytes of no cache", bytes)
	}
}

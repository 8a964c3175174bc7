// gomemcache, by Brad Fitzpatrick; README.md tells what an agent does.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

const limit = 120 * time.Second

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}

// A server is as often in the list as its weight: there is no other way.
func repeated(servers []string) []string {
	var all []string
	for _, server := range servers {
		address, text, isWeighted := strings.Cut(server, "*")
		weight := 1
		if isWeighted {
			var err error
			weight, err = strconv.Atoi(text)
			check(err)
		}
		for i := 0; i < weight; i++ {
			all = append(all, address)
		}
	}
	return all
}

type item struct {
	key   string
	value []byte
}

func itemsOf(path string) []item {
	file, err := os.Open(path)
	check(err)
	defer file.Close()
	var items []item
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, _ := bytes.Cut(lines.Bytes(), []byte("\t"))
		items = append(items, item{string(key), append([]byte(nil), value...)})
	}
	check(lines.Err())
	return items
}

func first(keys []string) []string {
	shown := []string{}
	for i := 0; i < len(keys) && i < 5; i++ {
		shown = append(shown, hex.EncodeToString([]byte(keys[i])))
	}
	return shown
}

func write(client *memcache.Client, items []item) any {
	var refused []string
	for _, item := range items {
		if client.Set(&memcache.Item{Key: item.key, Value: item.value}) != nil {
			refused = append(refused, item.key)
		}
	}
	return map[string]any{
		"stored":  len(items) - len(refused),
		"refused": len(refused),
		"first":   first(refused),
	}
}

func read(client *memcache.Client, items []item) any {
	var different, missing int
	var bad []string
	for _, item := range items {
		found, err := client.Get(item.key)
		switch {
		case err == memcache.ErrCacheMiss:
			missing++
		case err != nil:
			check(err)
		case bytes.Equal(found.Value, item.value):
			continue
		default:
			different++
		}
		bad = append(bad, item.key)
	}
	return map[string]any{
		"equal":     len(items) - len(bad),
		"different": different,
		"missing":   missing,
		"first":     first(bad),
	}
}

func main() {
	time.AfterFunc(limit, func() { fail("out of time") })
	if os.Args[1] == "version" {
		// The library has no version; Debian's package does.
		fmt.Println("gomemcache of Debian, built by", runtime.Version())
		return
	}
	job, mode, path, servers := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	if mode != "default" {
		fail("no mode " + mode)
	}
	client := memcache.New(repeated(servers)...)
	client.Timeout = 10 * time.Second
	var report any
	switch job {
	case "write":
		report = write(client, itemsOf(path))
	case "read":
		report = read(client, itemsOf(path))
	default:
		fail("no job " + job)
	}
	text, err := json.Marshal(report)
	check(err)
	fmt.Println(string(text))
}

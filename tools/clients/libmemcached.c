/* libmemcached itself; README.md tells what an agent does. */

#include <errno.h>
#include <libmemcached/memcached.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_SECONDS = 120, FIRST_MAX = 5 };

typedef struct {
  unsigned long good, different, bad, first_count;
  char *first[FIRST_MAX];
} tally;

static void fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void set(memcached_st *client, memcached_behavior_t behavior, uint64_t value) {
  memcached_return_t code = memcached_behavior_set(client, behavior, value);
  if (code != MEMCACHED_SUCCESS) fail("behavior", memcached_strerror(client, code));
}

static memcached_st *connect_to(const char *mode, char **servers) {
  memcached_st *client = memcached_create(NULL);
  if (strcmp(mode, "consistent") == 0) {
    set(client, MEMCACHED_BEHAVIOR_DISTRIBUTION, MEMCACHED_DISTRIBUTION_CONSISTENT);
  } else if (strcmp(mode, "ketama-weighted") == 0) {
    set(client, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
  } else if (strcmp(mode, "ketama-spy") == 0) {
    set(client, MEMCACHED_BEHAVIOR_DISTRIBUTION, MEMCACHED_DISTRIBUTION_CONSISTENT_KETAMA_SPY);
  } else if (strcmp(mode, "sort-hosts") == 0) {
    set(client, MEMCACHED_BEHAVIOR_SORT_HOSTS, 1);
  } else if (strcmp(mode, "default") != 0) {
    fail(mode, "no such mode");
  }
  set(client, MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, 10000);
  set(client, MEMCACHED_BEHAVIOR_POLL_TIMEOUT, 10000);
  for (; *servers != NULL; servers++) {
    char *star = strchr(*servers, '*');
    char *colon = strrchr(*servers, ':');
    if (colon == NULL) fail(*servers, "no port");
    unsigned long weight = star == NULL ? 1 : strtoul(star + 1, NULL, 10);
    unsigned long port = strtoul(colon + 1, NULL, 10);
    *colon = '\0';
    memcached_return_t code = memcached_server_add_with_weight(
        client, *servers, (in_port_t)port, (uint32_t)weight);
    if (code != MEMCACHED_SUCCESS) fail(*servers, memcached_strerror(client, code));
  }
  return client;
}

static void note(tally *counts, const char *key) {
  if (counts->first_count < FIRST_MAX) counts->first[counts->first_count++] = strdup(key);
}

static void print_first(const tally *counts) {
  printf("\"first\": [");
  for (unsigned long i = 0; i < counts->first_count; i++) {
    printf(i == 0 ? "\"" : ", \"");
    for (const char *at = counts->first[i]; *at != '\0'; at++) printf("%02x", (unsigned char)*at);
    printf("\"");
  }
  printf("]}\n");
}

static void write_one(memcached_st *client, const char *key, const char *value, tally *counts) {
  memcached_return_t code =
      memcached_set(client, key, strlen(key), value, strlen(value), 0, 0);
  if (code == MEMCACHED_SUCCESS) {
    counts->good++;
  } else {
    counts->bad++;
    note(counts, key);
  }
}

static void read_one(memcached_st *client, const char *key, const char *value, tally *counts) {
  size_t length = 0;
  uint32_t flags = 0;
  memcached_return_t code = MEMCACHED_SUCCESS;
  char *found = memcached_get(client, key, strlen(key), &length, &flags, &code);
  if (code == MEMCACHED_NOTFOUND) {
    counts->bad++;
    note(counts, key);
  } else if (code != MEMCACHED_SUCCESS) {
    fail(key, memcached_strerror(client, code));
  } else if (length == strlen(value) && memcmp(found, value, length) == 0) {
    counts->good++;
  } else {
    counts->different++;
    note(counts, key);
  }
  free(found);
}

int main(int argc, char **argv) {
  /* Without a handler the signal ends the process. */
  alarm(LIMIT_SECONDS);
  if (argc == 2 && strcmp(argv[1], "version") == 0) {
    printf("libmemcached %s\n", memcached_lib_version());
    return 0;
  }
  if (argc < 5) fail(argv[0], "too few arguments");
  bool is_write = strcmp(argv[1], "write") == 0;
  if (!is_write && strcmp(argv[1], "read") != 0) fail(argv[1], "no such job");
  memcached_st *client = connect_to(argv[2], argv + 4);
  FILE *file = fopen(argv[3], "rb");
  if (file == NULL) fail(argv[3], strerror(errno));
  tally counts = {0};
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;
  while ((length = getline(&line, &capacity, file)) > 0) {
    line[length - 1] = '\0';
    char *value = strchr(line, '\t');
    if (value == NULL) fail(line, "no tab");
    *value++ = '\0';
    (is_write ? write_one : read_one)(client, line, value, &counts);
  }
  if (is_write) {
    printf("{\"stored\": %lu, \"refused\": %lu, ", counts.good, counts.bad);
  } else {
    printf("{\"equal\": %lu, \"different\": %lu, \"missing\": %lu, ", counts.good,
           counts.different, counts.bad);
  }
  print_first(&counts);
  free(line);
  fclose(file);
  memcached_free(client);
  return 0;
}

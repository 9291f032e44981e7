/* Reads the state file: one statement a line, a word and its values. */
#define _GNU_SOURCE
#include "nvml_stub.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_FILE "nvml.state"
#define STATE_FOLDER "/run/nvml-stub"

static void find_state_file(char *path, size_t size)
{
    const char *named = getenv("NVML_STUB_STATE");
    Dl_info self;
    if (named && *named) {
        snprintf(path, size, "%s", named);
        return;
    }
    if (dladdr((void *)find_state_file, &self) && self.dli_fname && strchr(self.dli_fname, '/')) {
        int folder = (int)(strrchr(self.dli_fname, '/') - self.dli_fname);
        snprintf(path, size, "%.*s/" STATE_FILE, folder, self.dli_fname);
        if (access(path, R_OK) == 0)
            return;
    }
    snprintf(path, size, STATE_FOLDER "/" STATE_FILE);
}

static int64_t number(const char *text)
{
    return strcmp(text, "-") == 0 ? NOT_SUPPORTED_VALUE : strtoll(text, NULL, 0);
}

static void copy_text(char *target, const char *text)
{
    snprintf(target, TEXT, "%s", text);
}

static Device *add_device(State *state, const char *uuid, int parent)
{
    if (state->device_count == MOST_DEVICES)
        return NULL;
    Device *device = &state->devices[state->device_count++];
    if (parent != NO_DEVICE)
        *device = state->devices[parent]; /* a slice has its GPU's health; memory and processes are its own */
    copy_text(device->uuid, uuid);
    device->parent = parent;
    device->process_count = 0;
    device->other_mib = 0;
    return device;
}

static void add_rule(Rule *rules, int *count, int device, char *values)
{
    if (*count == MOST_RULES)
        return;
    Rule *rule = &rules[*count];
    if (sscanf(values, "%95s %ld", rule->function, &rule->value) != 2)
        return;
    rule->device = device;
    ++*count;
}

static void add_process(Device *device, const char *values)
{
    char used[TEXT], kind[TEXT];
    unsigned pid;
    if (device->process_count == MOST_PROCESSES || sscanf(values, "%u %95s %95s", &pid, used, kind) != 3)
        return;
    Process *process = &device->processes[device->process_count++];
    *process = (Process){.pid = pid, .used_mib = number(used), .graphics = strcmp(kind, "graphics") == 0};
}

static void add_xid(State *state, int device, const char *values)
{
    char instance[TEXT];
    unsigned long long sequence;
    unsigned xid;
    if (state->xid_count == MOST_XIDS || sscanf(values, "%llu %u %95s", &sequence, &xid, instance) != 3)
        return;
    state->xids[state->xid_count++] = (Xid){sequence, device, xid, number(instance)};
}

static void read_remapping(Device *device, const char *values)
{
    char corrected[TEXT], uncorrected[TEXT], pending[TEXT], failed[TEXT];
    if (sscanf(values, "%95s %95s %95s %95s", corrected, uncorrected, pending, failed) != 4)
        return;
    device->rows_corrected = number(corrected);
    device->rows_uncorrected = number(uncorrected);
    device->remap_pending = number(pending);
    device->remap_failed = number(failed);
}

static int read_device_number(Device *device, const char *word, const char *values)
{
    const struct {
        const char *word;
        int64_t *target;
    } fields[] = {
        {"total_mib", &device->total_mib},       {"reserved_mib", &device->reserved_mib},
        {"other_mib", &device->other_mib},       {"utilization", &device->utilization},
        {"temperature", &device->temperature_c}, {"power_mw", &device->power_mw},
        {"slowdowns", &device->slowdowns},       {"ecc", &device->ecc_uncorrected},
        {"pages_pending", &device->pages_pending}, {"recovery", &device->recovery_action},
        {"mig", &device->mig},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(word, fields[i].word) == 0) {
            *fields[i].target = number(values);
            return 1;
        }
    }
    return 0;
}

static void read_device_statement(State *state, int index, const char *word, char *values)
{
    Device *device = &state->devices[index];
    if (read_device_number(device, word, values))
        return;
    if (strcmp(word, "name") == 0)
        copy_text(device->name, values);
    else if (strcmp(word, "lost") == 0)
        device->lost = atoi(values);
    else if (strcmp(word, "capability") == 0)
        sscanf(values, "%d.%d", &device->capability_major, &device->capability_minor);
    else if (strcmp(word, "remapped") == 0)
        read_remapping(device, values);
    else if (strcmp(word, "process") == 0)
        add_process(device, values);
    else if (strcmp(word, "xid") == 0)
        add_xid(state, index, values);
}

static void read_statement(State *state, int *gpu, int *current, const char *word, char *values)
{
    if (strcmp(word, "device") == 0) {
        if (add_device(state, values, NO_DEVICE))
            *gpu = *current = state->device_count - 1;
    } else if (strcmp(word, "slice") == 0 && *gpu != NO_DEVICE) {
        if (add_device(state, values, *gpu))
            *current = state->device_count - 1;
    } else if (strcmp(word, "init") == 0)
        state->init = atol(values);
    else if (strcmp(word, "driver") == 0)
        copy_text(state->driver, values);
    else if (strcmp(word, "library") == 0)
        copy_text(state->library, values);
    else if (strcmp(word, "cuda") == 0)
        state->cuda = atol(values);
    else if (strcmp(word, "fail") == 0)
        add_rule(state->failures, &state->failure_count, *current, values);
    else if (strcmp(word, "delay_ms") == 0)
        add_rule(state->delays, &state->delay_count, *current, values);
    else if (*current != NO_DEVICE)
        read_device_statement(state, *current, word, values);
}

static int is_named(const State *state, int index, const char *item)
{
    const Device *device = &state->devices[index];
    if (strcmp(item, "all") == 0 || strcmp(item, device->uuid) == 0)
        return 1;
    if (device->parent != NO_DEVICE)
        return is_named(state, device->parent, item);
    if (*item < '0' || *item > '9' || strchr(item, ':'))
        return 0;
    int ordinal = 0;
    for (int i = 0; i < index; i++)
        ordinal += state->devices[i].parent == NO_DEVICE;
    return atoi(item) == ordinal;
}

/* As the container runtime grants devices: unset is a machine without it, where all are there. */
static void apply_visible_devices(State *state)
{
    const char *granted = getenv("NVIDIA_VISIBLE_DEVICES");
    for (int i = 0; i < state->device_count; i++)
        state->devices[i].visible = granted == NULL;
    if (granted == NULL)
        return;
    char *list = strdup(granted), *rest = list, *item;
    while (list && (item = strsep(&rest, ",")) != NULL) {
        for (int i = 0; i < state->device_count; i++) {
            if (*item == '\0' || !is_named(state, i, item))
                continue;
            state->devices[i].visible = 1;
            if (state->devices[i].parent != NO_DEVICE)
                state->devices[state->devices[i].parent].visible = 1;
        }
    }
    free(list);
}

void state_load(State *state)
{
    char path[4096], *line = NULL;
    size_t size = 0;
    int gpu = NO_DEVICE, current = NO_DEVICE;
    memset(state, 0, sizeof *state);
    find_state_file(path, sizeof path);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    state->present = 1;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (*line == '#' || *line == '\0')
            continue;
        char *values = line + strcspn(line, " ");
        if (*values)
            *values++ = '\0';
        read_statement(state, &gpu, &current, line, values);
    }
    free(line);
    fclose(file);
    apply_visible_devices(state);
}

long rule_value(const Rule *rules, int count, const char *function, int device)
{
    long general = 0, own = 0;
    for (int i = 0; i < count; i++) {
        if (strcmp(rules[i].function, "*") != 0 && strcmp(rules[i].function, function) != 0)
            continue;
        if (rules[i].device == NO_DEVICE)
            general = rules[i].value;
        else if (rules[i].device == device)
            own = rules[i].value;
    }
    return own ? own : general;
}

int find_device(const State *state, const char *uuid)
{
    for (int i = 0; i < state->device_count; i++)
        if (strcmp(state->devices[i].uuid, uuid) == 0)
            return i;
    return NO_DEVICE;
}

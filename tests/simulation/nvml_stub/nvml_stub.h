/* The state that the stand-in answers from, as read from its file; README.md describes that file. */
#ifndef NVML_STUB_H
#define NVML_STUB_H

#include <stdint.h>

enum {
    MOST_DEVICES = 64, /* GPUs and slices together */
    MOST_PROCESSES = 64,
    MOST_RULES = 32,
    MOST_XIDS = 256,
    TEXT = 96,
    NO_DEVICE = -1,
    NOT_SUPPORTED_VALUE = -1, /* written as "-" in the file */
};

typedef struct {
    char function[TEXT]; /* an NVML function's name, or "*" */
    int device;          /* NO_DEVICE: every device, and calls about none */
    long value;
} Rule;

typedef struct {
    uint32_t pid;
    int64_t used_mib;
    int graphics;
} Process;

typedef struct {
    uint64_t sequence;
    int device;
    uint32_t xid;
    int64_t gpu_instance;
} Xid;

typedef struct {
    char uuid[TEXT];
    char name[TEXT];
    int parent; /* NO_DEVICE for a GPU, else the GPU that this MIG slice is of */
    int visible;
    int lost;
    int64_t total_mib, reserved_mib, other_mib;
    int capability_major, capability_minor;
    int64_t utilization, temperature_c, power_mw, slowdowns;
    int64_t ecc_uncorrected, rows_corrected, rows_uncorrected, remap_pending, remap_failed;
    int64_t pages_pending, recovery_action, mig;
    int process_count;
    Process processes[MOST_PROCESSES];
} Device;

typedef struct {
    int present; /* whether there was a file */
    long init;
    char driver[TEXT], library[TEXT];
    long cuda;
    int device_count, failure_count, delay_count, xid_count;
    Device devices[MOST_DEVICES];
    Rule failures[MOST_RULES], delays[MOST_RULES];
    Xid xids[MOST_XIDS];
} State;

/* Read the file anew, and apply NVIDIA_VISIBLE_DEVICES to what it names. */
void state_load(State *state);

/* The last rule for a function (a rule for the device before one for all); 0 when there is none. */
long rule_value(const Rule *rules, int count, const char *function, int device);

/* The device of this UUID; NO_DEVICE when there is none. */
int find_device(const State *state, const char *uuid);

#endif

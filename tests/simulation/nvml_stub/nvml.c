/* The part of NVML's interface that health checks use, answered from a state file that is read at every call.
 * Signatures and structures follow NVIDIA's nvml.h. */
#define _GNU_SOURCE
#include "nvml_stub.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define STEP_MS 20
#define ANY_INSTANCE 0xFFFFFFFFu
#define NO_MEMORY_VALUE 0xFFFFFFFFFFFFFFFFull
#define MEMORY_V2 0x02000028u
#define TEMPERATURE_V1 0x0100000Cu
#define XID_EVENT 8ull
#define FIELD_RECOVERY_ACTION 230u
#define UNSIGNED_INT_VALUE 1u

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    GPU_IS_LOST = 15,
    VERSION_MISMATCH = 25,
};

typedef int Return;
typedef struct {
    char uuid[TEXT];
} Handle;
typedef struct {
    uint64_t after;
    int count;
    Handle *devices[MOST_DEVICES];
} EventSet;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Handle handles[MOST_DEVICES * 4];
static int handle_count;
static int initialized;
static __thread State state; /* as read by the call that this thread is in */

static Handle *handle_of(const char *uuid)
{
    Handle *found = NULL;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < handle_count && !found; i++)
        if (strcmp(handles[i].uuid, uuid) == 0)
            found = &handles[i];
    if (!found && handle_count < (int)(sizeof handles / sizeof *handles)) {
        found = &handles[handle_count++];
        snprintf(found->uuid, TEXT, "%s", uuid);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* Sleeps as long as the file says so: a hang ends when the rule is taken away. */
static void wait_out_delay(const char *function, const Handle *handle)
{
    for (long waited_ms = 0;; waited_ms += STEP_MS) {
        int device = handle ? find_device(&state, handle->uuid) : NO_DEVICE;
        if (waited_ms >= rule_value(state.delays, state.delay_count, function, device))
            return;
        usleep(STEP_MS * 1000);
        state_load(&state);
    }
}

static Return enter(const char *function, const Handle *handle, Device **device)
{
    state_load(&state);
    wait_out_delay(function, handle);
    if (!initialized && strcmp(function, "nvmlInit") != 0)
        return UNINITIALIZED;
    int index = handle ? find_device(&state, handle->uuid) : NO_DEVICE;
    if (handle && (index == NO_DEVICE || state.devices[index].lost))
        return GPU_IS_LOST;
    if (device)
        *device = &state.devices[index];
    return (Return)rule_value(state.failures, state.failure_count, function, index);
}

/* For functions about the host, and about a device: `state` is read, and `device` there, from here on. */
#define ENTER_HOST(name)                                                                                              \
    Return entered = enter(name, NULL, NULL);                                                                 \
    if (entered != SUCCESS)                                                                                           \
        return entered
#define ENTER_DEVICE(name)                                                                                            \
    Device *device = NULL;                                                                                            \
    if (handle == NULL)                                                                                               \
        return INVALID_ARGUMENT;                                                                                      \
    Return entered = enter(name, handle, &device);                                                            \
    if (entered != SUCCESS)                                                                                           \
        return entered

static Return put_text(char *target, unsigned size, const char *text)
{
    if (strlen(text) + 1 > size)
        return INSUFFICIENT_SIZE;
    strcpy(target, text);
    return SUCCESS;
}

static Return put_number(unsigned *target, int64_t value)
{
    if (value == NOT_SUPPORTED_VALUE)
        return NOT_SUPPORTED;
    *target = (unsigned)value;
    return SUCCESS;
}

/* ---- the library and the host ---- */

API Return nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    Return entered = enter("nvmlInit", NULL, NULL);
    if (entered != SUCCESS)
        return entered;
    if (!state.present)
        return DRIVER_NOT_LOADED;
    if (state.init == SUCCESS)
        initialized++;
    return (Return)state.init;
}

API Return nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

API Return nvmlInit(void)
{
    return nvmlInitWithFlags(0);
}

API Return nvmlShutdown(void)
{
    ENTER_HOST("nvmlShutdown");
    initialized--;
    return SUCCESS;
}

API const char *nvmlErrorString(Return code)
{
    static const struct {
        Return code;
        const char *text;
    } errors[] = {
        {0, "Success"},          {1, "Uninitialized"},      {2, "Invalid Argument"},
        {3, "Not Supported"},    {4, "Insufficient Permissions"}, {6, "Not Found"},
        {7, "Insufficient Size"}, {9, "Driver Not Loaded"}, {10, "Timeout"},
        {12, "NVML Shared Library Not Found"}, {13, "Function Not Found"}, {15, "GPU is lost"},
        {16, "GPU requires reset"}, {17, "The operating system has blocked the request."},
        {18, "Driver/library version mismatch"}, {999, "Unknown Error"},
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            return errors[i].text;
    return "Unknown Error";
}

API Return nvmlSystemGetDriverVersion(char *version, unsigned size)
{
    ENTER_HOST("nvmlSystemGetDriverVersion");
    return put_text(version, size, state.driver);
}

API Return nvmlSystemGetNVMLVersion(char *version, unsigned size)
{
    ENTER_HOST("nvmlSystemGetNVMLVersion");
    return put_text(version, size, state.library);
}

API Return nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    ENTER_HOST("nvmlSystemGetCudaDriverVersion");
    *version = (int)state.cuda;
    return SUCCESS;
}

API Return nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

/* ---- finding devices ---- */

static int nth_visible(unsigned n, int parent)
{
    for (int i = 0; i < state.device_count; i++)
        if (state.devices[i].visible && state.devices[i].parent == parent && n-- == 0)
            return i;
    return NO_DEVICE;
}

API Return nvmlDeviceGetCount_v2(unsigned *count)
{
    ENTER_HOST("nvmlDeviceGetCount");
    for (*count = 0; nth_visible(*count, NO_DEVICE) != NO_DEVICE;)
        ++*count;
    return SUCCESS;
}

API Return nvmlDeviceGetCount(unsigned *count)
{
    return nvmlDeviceGetCount_v2(count);
}

static Return open_device(int index, const char *function, Handle **handle)
{
    if (state.devices[index].lost)
        return GPU_IS_LOST;
    *handle = handle_of(state.devices[index].uuid);
    return (Return)rule_value(state.failures, state.failure_count, function, index);
}

API Return nvmlDeviceGetHandleByIndex_v2(unsigned ordinal, Handle **handle)
{
    ENTER_HOST("nvmlDeviceGetHandleByIndex");
    int index = nth_visible(ordinal, NO_DEVICE);
    return index == NO_DEVICE ? INVALID_ARGUMENT : open_device(index, "nvmlDeviceGetHandleByIndex", handle);
}

API Return nvmlDeviceGetHandleByIndex(unsigned ordinal, Handle **handle)
{
    return nvmlDeviceGetHandleByIndex_v2(ordinal, handle);
}

API Return nvmlDeviceGetHandleByUUID(const char *uuid, Handle **handle)
{
    ENTER_HOST("nvmlDeviceGetHandleByUUID");
    int index = find_device(&state, uuid);
    if (index == NO_DEVICE || !state.devices[index].visible)
        return NOT_FOUND;
    return open_device(index, "nvmlDeviceGetHandleByUUID", handle);
}

API Return nvmlDeviceGetMaxMigDeviceCount(Handle *handle, unsigned *count)
{
    ENTER_DEVICE("nvmlDeviceGetMaxMigDeviceCount");
    if (device->mig == NOT_SUPPORTED_VALUE)
        return NOT_SUPPORTED;
    *count = 7;
    return SUCCESS;
}

API Return nvmlDeviceGetMigMode(Handle *handle, unsigned *current, unsigned *pending)
{
    ENTER_DEVICE("nvmlDeviceGetMigMode");
    *pending = device->mig == 1;
    return put_number(current, device->mig);
}

API Return nvmlDeviceGetMigDeviceHandleByIndex(Handle *handle, unsigned ordinal, Handle **slice)
{
    ENTER_DEVICE("nvmlDeviceGetMigDeviceHandleByIndex");
    int index = nth_visible(ordinal, (int)(device - state.devices));
    if (device->mig != 1 || index == NO_DEVICE)
        return NOT_FOUND;
    *slice = handle_of(state.devices[index].uuid);
    return SUCCESS;
}

API Return nvmlDeviceIsMigDeviceHandle(Handle *handle, unsigned *is_slice)
{
    ENTER_DEVICE("nvmlDeviceIsMigDeviceHandle");
    *is_slice = device->parent != NO_DEVICE;
    return SUCCESS;
}

API Return nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Handle *handle, Handle **gpu)
{
    ENTER_DEVICE("nvmlDeviceGetDeviceHandleFromMigDeviceHandle");
    if (device->parent == NO_DEVICE)
        return INVALID_ARGUMENT;
    *gpu = handle_of(state.devices[device->parent].uuid);
    return SUCCESS;
}

/* Slices of a GPU have instances 1, 2, … in the order of the file. */
API Return nvmlDeviceGetGpuInstanceId(Handle *handle, unsigned *instance)
{
    ENTER_DEVICE("nvmlDeviceGetGpuInstanceId");
    if (device->parent == NO_DEVICE)
        return NOT_SUPPORTED;
    *instance = 1;
    for (const Device *other = state.devices; other < device; other++)
        *instance += other->parent == device->parent;
    return SUCCESS;
}

/* ---- reading one device ---- */

API Return nvmlDeviceGetName(Handle *handle, char *name, unsigned size)
{
    ENTER_DEVICE("nvmlDeviceGetName");
    return put_text(name, size, device->name);
}

API Return nvmlDeviceGetUUID(Handle *handle, char *uuid, unsigned size)
{
    ENTER_DEVICE("nvmlDeviceGetUUID");
    return put_text(uuid, size, device->uuid);
}

API Return nvmlDeviceGetCudaComputeCapability(Handle *handle, int *major, int *minor)
{
    ENTER_DEVICE("nvmlDeviceGetCudaComputeCapability");
    *major = device->capability_major;
    *minor = device->capability_minor;
    return SUCCESS;
}

static uint64_t used_mib(const Device *device)
{
    uint64_t used = (uint64_t)device->other_mib;
    for (int i = 0; i < device->process_count; i++)
        if (device->processes[i].used_mib != NOT_SUPPORTED_VALUE)
            used += (uint64_t)device->processes[i].used_mib;
    return used;
}

static uint64_t bytes(uint64_t mib)
{
    return mib << 20;
}

/* Free never falls below zero: a card that is said to hold more than it has is full. */
static uint64_t free_mib(const Device *device)
{
    uint64_t taken = used_mib(device) + (uint64_t)device->reserved_mib, total = (uint64_t)device->total_mib;
    return taken < total ? total - taken : 0;
}

typedef struct {
    uint64_t total, free, used;
} Memory;

typedef struct {
    unsigned version;
    uint64_t total, reserved, free, used;
} MemoryV2;

API Return nvmlDeviceGetMemoryInfo(Handle *handle, Memory *memory)
{
    ENTER_DEVICE("nvmlDeviceGetMemoryInfo");
    memory->total = bytes((uint64_t)device->total_mib);
    memory->free = bytes(free_mib(device));
    memory->used = memory->total - memory->free; /* the first version counts the reserve as used */
    return SUCCESS;
}

API Return nvmlDeviceGetMemoryInfo_v2(Handle *handle, MemoryV2 *memory)
{
    ENTER_DEVICE("nvmlDeviceGetMemoryInfo_v2");
    if (memory->version != MEMORY_V2)
        return VERSION_MISMATCH;
    memory->total = bytes((uint64_t)device->total_mib);
    memory->reserved = bytes((uint64_t)device->reserved_mib);
    memory->free = bytes(free_mib(device));
    memory->used = memory->total - memory->reserved - memory->free;
    return SUCCESS;
}

API Return nvmlDeviceGetUtilizationRates(Handle *handle, unsigned rates[2])
{
    ENTER_DEVICE("nvmlDeviceGetUtilizationRates");
    rates[1] = 0;
    return device->parent == NO_DEVICE ? put_number(&rates[0], device->utilization) : NOT_SUPPORTED;
}

API Return nvmlDeviceGetTemperature(Handle *handle, unsigned sensor, unsigned *celsius)
{
    (void)sensor;
    ENTER_DEVICE("nvmlDeviceGetTemperature");
    return put_number(celsius, device->temperature_c);
}

typedef struct {
    unsigned version, sensor;
    int celsius;
} Temperature;

API Return nvmlDeviceGetTemperatureV(Handle *handle, Temperature *temperature)
{
    ENTER_DEVICE("nvmlDeviceGetTemperatureV");
    if (temperature->version != TEMPERATURE_V1)
        return VERSION_MISMATCH;
    return put_number((unsigned *)&temperature->celsius, device->temperature_c);
}

API Return nvmlDeviceGetPowerUsage(Handle *handle, unsigned *milliwatts)
{
    ENTER_DEVICE("nvmlDeviceGetPowerUsage");
    return put_number(milliwatts, device->power_mw);
}

static Return put_slowdowns(const Device *device, uint64_t *reasons)
{
    if (device->slowdowns == NOT_SUPPORTED_VALUE)
        return NOT_SUPPORTED;
    *reasons = (uint64_t)device->slowdowns;
    return SUCCESS;
}

API Return nvmlDeviceGetCurrentClocksEventReasons(Handle *handle, uint64_t *reasons)
{
    ENTER_DEVICE("nvmlDeviceGetCurrentClocksEventReasons");
    return put_slowdowns(device, reasons);
}

API Return nvmlDeviceGetCurrentClocksThrottleReasons(Handle *handle, uint64_t *reasons)
{
    ENTER_DEVICE("nvmlDeviceGetCurrentClocksThrottleReasons");
    return put_slowdowns(device, reasons);
}

API Return nvmlDeviceGetTotalEccErrors(Handle *handle, unsigned type, unsigned counter, uint64_t *count)
{
    (void)counter;
    ENTER_DEVICE("nvmlDeviceGetTotalEccErrors");
    if (device->ecc_uncorrected == NOT_SUPPORTED_VALUE)
        return NOT_SUPPORTED;
    *count = type == 1 ? (uint64_t)device->ecc_uncorrected : 0;
    return SUCCESS;
}

API Return nvmlDeviceGetRemappedRows(Handle *handle, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                                     unsigned *failed)
{
    ENTER_DEVICE("nvmlDeviceGetRemappedRows");
    *uncorrected = (unsigned)device->rows_uncorrected;
    *pending = (unsigned)device->remap_pending;
    *failed = (unsigned)device->remap_failed;
    return put_number(corrected, device->rows_corrected);
}

API Return nvmlDeviceGetRetiredPagesPendingStatus(Handle *handle, unsigned *pending)
{
    ENTER_DEVICE("nvmlDeviceGetRetiredPagesPendingStatus");
    return put_number(pending, device->pages_pending);
}

typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency_us;
    uint32_t type;
    Return result;
    union {
        double real;
        uint64_t whole;
        unsigned number;
    } value;
} FieldValue;

API Return nvmlDeviceGetFieldValues(Handle *handle, int count, FieldValue *values)
{
    ENTER_DEVICE("nvmlDeviceGetFieldValues");
    for (int i = 0; i < count; i++) {
        values[i].type = UNSIGNED_INT_VALUE;
        values[i].value.whole = 0;
        values[i].result = values[i].field == FIELD_RECOVERY_ACTION
                               ? put_number(&values[i].value.number, device->recovery_action)
                               : NOT_SUPPORTED;
    }
    return SUCCESS;
}

/* ---- processes ---- */

typedef struct {
    unsigned pid;
    uint64_t used;
    unsigned gpu_instance, compute_instance;
} ProcessInfo;

static Return put_processes(const Device *device, int graphics, unsigned *count, ProcessInfo *infos)
{
    unsigned room = *count;
    *count = 0;
    for (int i = 0; i < device->process_count; i++)
        *count += device->processes[i].graphics == graphics;
    if (*count == 0)
        return SUCCESS;
    if (infos == NULL || room < *count)
        return INSUFFICIENT_SIZE;
    for (int i = 0, next = 0; i < device->process_count; i++) {
        const Process *process = &device->processes[i];
        if (process->graphics != graphics)
            continue;
        uint64_t used = process->used_mib == NOT_SUPPORTED_VALUE ? NO_MEMORY_VALUE : bytes((uint64_t)process->used_mib);
        infos[next++] = (ProcessInfo){process->pid, used, ANY_INSTANCE, ANY_INSTANCE};
    }
    return SUCCESS;
}

API Return nvmlDeviceGetComputeRunningProcesses_v3(Handle *handle, unsigned *count, ProcessInfo *infos)
{
    ENTER_DEVICE("nvmlDeviceGetComputeRunningProcesses");
    return put_processes(device, 0, count, infos);
}

API Return nvmlDeviceGetGraphicsRunningProcesses_v3(Handle *handle, unsigned *count, ProcessInfo *infos)
{
    ENTER_DEVICE("nvmlDeviceGetGraphicsRunningProcesses");
    return put_processes(device, 1, count, infos);
}

/* ---- events ---- */

API Return nvmlEventSetCreate(EventSet **set)
{
    ENTER_HOST("nvmlEventSetCreate");
    *set = calloc(1, sizeof **set);
    for (int i = 0; i < state.xid_count; i++)
        if (state.xids[i].sequence > (*set)->after)
            (*set)->after = state.xids[i].sequence;
    return SUCCESS;
}

API Return nvmlEventSetFree(EventSet *set)
{
    free(set);
    return SUCCESS;
}

API Return nvmlDeviceGetSupportedEventTypes(Handle *handle, uint64_t *types)
{
    ENTER_DEVICE("nvmlDeviceGetSupportedEventTypes");
    *types = XID_EVENT;
    return SUCCESS;
}

API Return nvmlDeviceRegisterEvents(Handle *handle, uint64_t types, EventSet *set)
{
    (void)types;
    ENTER_DEVICE("nvmlDeviceRegisterEvents");
    if (set->count < MOST_DEVICES)
        set->devices[set->count++] = handle;
    return SUCCESS;
}

typedef struct {
    Handle *device;
    uint64_t type, data;
    unsigned gpu_instance, compute_instance;
} EventData;

static Handle *registered(const EventSet *set, const char *uuid)
{
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->devices[i]->uuid, uuid) == 0)
            return set->devices[i];
    return NULL;
}

/* The oldest Xid that this set has not told yet; NULL when there is none. */
static const Xid *next_xid(const EventSet *set)
{
    const Xid *oldest = NULL;
    for (int i = 0; i < state.xid_count; i++) {
        const Xid *xid = &state.xids[i];
        if (xid->sequence > set->after && registered(set, state.devices[xid->device].uuid) &&
            (oldest == NULL || xid->sequence < oldest->sequence))
            oldest = xid;
    }
    return oldest;
}

static int any_lost(const EventSet *set)
{
    for (int i = 0; i < set->count; i++) {
        int index = find_device(&state, set->devices[i]->uuid);
        if (index == NO_DEVICE || state.devices[index].lost)
            return 1;
    }
    return 0;
}

API Return nvmlEventSetWait_v2(EventSet *set, EventData *event, unsigned timeout_ms)
{
    ENTER_HOST("nvmlEventSetWait");
    for (unsigned waited_ms = 0;; waited_ms += STEP_MS) {
        const Xid *xid = next_xid(set);
        if (xid) {
            set->after = xid->sequence;
            event->device = registered(set, state.devices[xid->device].uuid);
            event->type = XID_EVENT;
            event->data = xid->xid;
            event->gpu_instance = xid->gpu_instance == NOT_SUPPORTED_VALUE ? ANY_INSTANCE : (unsigned)xid->gpu_instance;
            event->compute_instance = ANY_INSTANCE;
            return SUCCESS;
        }
        if (any_lost(set))
            return GPU_IS_LOST;
        if (waited_ms >= timeout_ms)
            return TIMEOUT;
        usleep(STEP_MS * 1000);
        state_load(&state);
    }
}

/* Stands in for NVIDIA's driver libraries in tests of stage_contract.cuda_device: one library with the few functions
 * that it calls of CUDA's and NVML's, answering from environment variables. */
#include <stdlib.h>
#include <string.h>

static long number(const char *variable, long otherwise) {
    const char *text = getenv(variable);
    return text ? atol(text) : otherwise;
}

int cuInit(unsigned int flags) { return (int)number("STUB_CU_INIT", flags); }

int cuGetErrorString(int code, const char **text) {
    *text = code == 100   ? "no CUDA-capable device is detected"
            : code == 803 ? "system has unsupported display driver / cuda driver combination"
            : code == 804 ? "forward compatibility was attempted on non supported HW"
            : code == 2   ? "out of memory"
                          : NULL;
    return 0;
}

int cuDeviceGetCount(int *count) {
    *count = (int)number("STUB_CU_COUNT", 1);
    return 0;
}

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return 0;
}

int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    for (int byte = 0; byte < 16; byte++) uuid[byte] = (unsigned char)(0xa0 + byte + device);
    return 0;
}

int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, "NVIDIA Stub 8GB", (size_t)length);
    return device;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : 6;
    return device;
}

int cuDriverGetVersion(int *version) {
    *version = 12040;
    return 0;
}

int nvmlInit_v2(void) { return (int)number("STUB_NVML_INIT", 0); }

int nvmlShutdown(void) { return 0; }

const char *nvmlErrorString(int code) {
    return code == 18 ? "Driver/library version mismatch" : code == 6 ? "Not Found" : "Unknown Error";
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    *handle = (void *)uuid;
    return (int)number("STUB_NVML_HANDLE", 0);
}

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) {
    unsigned long long free_mib = (unsigned long long)number("STUB_FREE_MIB", 7600);
    (void)handle;
    memory[0] = 8192ull << 20;
    memory[1] = free_mib << 20;
    memory[2] = (8192 - free_mib) << 20;
    return 0;
}

/* Stand-ins for the CUDA runtime, NVRTC and cuBLASLt on the CPU, for tests only: not a GPU, and whatever comes out of
   them says so. They make the CUDA backend's own code run where there is no NVIDIA device:

     nvrtc.cpp     compiles CUDA C++ by g++; the "cubin" is a shared object (module.h)
     runtime.cpp   devices, errors, libraries of kernels, launches
     streams.cpp   streams, events, capture, graphs. Work is queued and runs when somebody waits or asks, never sooner
     groups.cpp    one launch: groups one after another, work-items as fibers that change places at barriers
     ptx.cpp       inline PTX: conversions, copies to shared memory, products of matrices by warps
     memory.cpp    device and pinned memory between guards; freed memory stays forbidden
     races.cpp     every access of a kernel checked for bounds and for conflicts with others ($FAKECUDA_CHECK)
     traffic.cpp   what accesses ask of a GPU's memory ($FAKECUDA_TRAFFIC, for scripts/kernel-traffic)
     cublaslt.cpp  matrix products with sums in double
     failures.cpp  planned failures of calls; findings

   A *finding* is a fault of the caller or of a kernel: it goes to stderr, what was found at fails with an error that
   stays (as a device's own does), and the process ends with a status that is not 0.

   Environment: FAKECUDA_CHECK=1 checks every access of a kernel; FAKECUDA_TRAFFIC=FOLDER counts them there instead;
   FAKECUDA_UNITS=4: multiprocessors; FAKECUDA_ORDER=reverse or a number: the order in which
   groups and items run (a number seeds a random one); FAKECUDA_FAIL="cudaMalloc:3=2,any:70=700": the third cudaMalloc
   and the seventieth call of all return these codes; FAKECUDA_DEVICES=0..8; FAKECUDA_DRIVER=12040: the driver's version
   (an older one than the runtime's is refused); FAKECUDA_CAPABILITY=90. One thread at a time may call. */
#ifndef FAKECUDA_H
#define FAKECUDA_H

#include "module.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <cuda_runtime_api.h>
#include <functional>
#include <set>
#include <vector>

namespace fakecuda {

/* ---- failures.cpp ---- */

/* The code that this call must return in place of doing anything; 0: none. */
int due(const char *call);
__attribute__((format(printf, 1, 2))) void finding(const char *format, ...);
/* Objects of the caller that are alive, for the report at the end. */
void count_alive(const char *what, int change);
const char *setting(const char *name, const char *otherwise); /* of the environment */

/* Live objects of one type, which is what handles are checked against. */
template <class T>
class registry {
 public:
  explicit registry(const char *name) : name_(name) {}
  T *add(T *object) {
    count_alive(name_, 1);
    return *live_.insert(object).first;
  }
  bool has(const T *object) const { return live_.count(const_cast<T *>(object)) > 0; }
  bool remove(T *object) {
    if (!live_.erase(object)) return false;
    count_alive(name_, -1);
    delete object;
    return true;
  }
  const std::set<T *> &all() const { return live_; }

 private:
  const char *name_;
  std::set<T *> live_;
};

/* ---- memory.cpp ---- */

enum class memory_kind { device, pinned };

struct access_cell; /* races.cpp */

struct allocation {
  memory_kind kind;
  unsigned number; /* from 1 */
  bool freed;
  char *begin, *end;           /* what was asked for */
  char *mapping, *mapping_end; /* with the slack around it, between forbidden pages */
  access_cell *cells;          /* one a byte, once a checked access came; else null */
};

/* nullptr when the device is full. */
allocation *allocate(memory_kind kind, size_t bytes);
void release(allocation *a);
/* The allocation, freed or not, whose pages (forbidden ones included) hold `at`; nullptr: none. */
allocation *find_allocation(const volatile void *at);
bool is_inside(const allocation *a, const volatile void *at, size_t bytes);
size_t device_memory_free();
constexpr size_t device_memory_total = size_t{4} << 30;

/* Device memory may be touched only while one of these exists; at its end the slack around every allocation is
 * checked. */
class device_access {
 public:
  device_access();
  ~device_access();
};
/* Whether everything beside the live allocations is as it was; else a finding that names `who`. */
bool slack_is_whole(const char *who);
/* "byte 4000 of allocation 3, which has 4000". */
void describe(const volatile void *at, char *text, size_t size);

/* ---- groups.cpp ---- */

struct launch {
  const char *name;
  fakecuda_module *module;
  const fakecuda_entry *entry;
  dim3 grid, block;
  bool overlaps; /* by cudaLaunchAttributeProgrammaticStreamSerialization: its items wait for earlier launches
                    themselves */
  std::vector<std::vector<char>> arguments;
};

/* cudaErrorIllegalAddress or cudaErrorLaunchFailure after a finding. */
cudaError_t run(const launch &l);

/* Of the work-item that is running. */
struct place_in_launch {
  const launch *running;
  unsigned group, item;
  uint32_t launch_began, group_began, now; /* in intervals, those between two barriers, counted through all launches */
};
extern place_in_launch place;
bool is_on_stack(const volatile void *at, size_t bytes); /* of the running work-item */
/* The running work-item has waited for the launches before its own (griddepcontrol.wait), or need not. */
void note_wait();
bool has_waited();
/* Reports a finding at the running work-item and ends the launch with `code`. */
[[noreturn]] void stop(cudaError_t code, const char *what);

/* Waits until all items of the warp have come to the instruction at `line`; `make` then runs once for the whole warp,
   with the operands of each lane. That some do not come, or to another one, is a finding. */
constexpr unsigned warp_size = 32;
using warp_operands = const fakecuda_operand *[warp_size];
void meet(const char *text, int line, const fakecuda_operand *operands, void (*make)(const warp_operands &lanes));

/* ---- ptx.cpp ---- */

void assembly(const char *text, const fakecuda_operand *operands, unsigned count, int line, const void *code);
void begin_group(); /* nothing of an earlier one is left */
bool has_copies();  /* whether some of the running work-item are under way */

/* ---- races.cpp ---- */

/* The running work-item's FAKECUDA_COPY has arrived: from now on its own write. */
void copy_arrived(const volatile void *at, unsigned long bytes);
void check_access(const volatile void *at, unsigned long bytes, fakecuda_access what, const void *code);
void forget_checks(const fakecuda_module *m); /* before it is unloaded */

/* ---- traffic.cpp ---- */

const char *traffic_folder();                  /* nullptr: accesses are not counted */
bool begin_traffic(const fakecuda_module *m);  /* false: its launch has been counted */
void forget_traffic(const fakecuda_module *m); /* before it is unloaded */
void note_traffic(const volatile void *at, unsigned long bytes, fakecuda_access deed, const void *code);
void end_traffic_of_group();
void end_traffic(const launch &l);

/* Whether kernels tell of each access. */
inline bool watches_accesses() { return traffic_folder() || strcmp(setting("FAKECUDA_CHECK", "0"), "0") != 0; }

/* ---- streams.cpp ---- */

/* A piece of a stream's work. */
using work = std::function<cudaError_t()>;

/* Appends to the stream, or to what it captures. `staged`: the work holds a copy of pageable memory, which no graph
 * may. */
cudaError_t enqueue(cudaStream_t stream, work w, bool staged = false);
/* For calls that no capture allows: invalidates the captures that forbid them. */
cudaError_t outside_of_captures();
cudaError_t drain_all();
cudaError_t wait_for(cudaStream_t stream);

/* ---- runtime.cpp ---- */

/* What a runtime call begins with: a planned failure, or the error that an earlier finding left behind. */
cudaError_t begin(const char *call);
cudaError_t fail(cudaError_t code); /* notes it for cudaGetLastError */
void fail_for_good(cudaError_t code);

#define FAKECUDA_BEGIN \
  if (const cudaError_t begun = fakecuda::begin(__func__); begun != cudaSuccess) return begun

}  // namespace fakecuda

#endif

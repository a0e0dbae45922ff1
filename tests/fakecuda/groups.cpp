/* One launch: its groups one after another, the work-items of each as fibers. A fiber runs until it meets a barrier, an
   instruction of its warp, or ends; when all (of the warp) have met the same one, all go on. A finding, or a fault of
   the processor, ends the launch. */
#include "fakecuda.h"
#include "fiber.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

namespace fakecuda {

place_in_launch place;

namespace {

constexpr size_t most_items = 1024, stack_size = size_t{64} << 10, stack_guard = size_t{4} << 10;

enum class item_state { ready, waiting, meeting, done };

struct work_item {
  fiber own;
  item_state state;
  bool waited; /* for the launches before its own */
  int line;    /* of the barrier, or of its warp's instruction, where it waits */
  const char *text;
  const fakecuda_operand *operands;
  void (*make)(const warp_operands &lanes);
};

work_item items[most_items];
std::vector<unsigned> item_order, group_order;
std::vector<void *> arguments;
sigjmp_buf stop_point;
cudaError_t stop_code;

/* A stack for each work-item, with a forbidden page at its lower end. */
char *stacks() {
  static char *base;
  if (base) return base;
  void *memory = mmap(nullptr, most_items * stack_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) abort();
  base = (char *)memory;
  for (size_t i = 0; i < most_items; i++) (void)mprotect(base + i * stack_size, stack_guard, PROT_NONE);
  return base;
}

bool is_stack_guard(const void *at) {
  const char *p = (const char *)at;
  return p >= stacks() && p < stacks() + most_items * stack_size && (size_t)(p - stacks()) % stack_size < stack_guard;
}

/* ---- faults of the processor ---- */

struct sigaction before_us[NSIG];

void on_fault(int signal, siginfo_t *info, void *) {
  char where[160], text[256];
  describe(info->si_addr, where, sizeof where);
  if (!place.running) { /* the host's own: let it die as it would, but say what of ours it touched */
    if (find_allocation(info->si_addr)) finding("the host touches %s", where);
    (void)sigaction(signal, &before_us[signal], nullptr);
    return;
  }
  if (signal == SIGFPE)
    stop(cudaErrorLaunchFailure, "division by zero");
  else if (is_stack_guard(info->si_addr))
    stop(cudaErrorLaunchFailure, "stack overflow (the stand-in has 60 KiB an item)");
  (void)snprintf(text, sizeof text, "out of bounds: %s", where);
  stop(cudaErrorIllegalAddress, text);
}

void catch_faults() {
  static bool caught;
  static char alternative[64 << 10];
  if (caught) return;
  caught = true;
  stack_t stack = {};
  stack.ss_sp = alternative;
  stack.ss_size = sizeof alternative;
  (void)sigaltstack(&stack, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE}) (void)sigaction(signal, &action, &before_us[signal]);
}

/* ---- items ---- */

void item_main() {
  place.running->entry->call(arguments.data());
  if (has_copies()) stop(cudaErrorLaunchFailure, "ends with copies under way (missing cp.async.wait_all?)");
  if (!has_waited())
    stop(cudaErrorLaunchFailure, "ends and has not waited for earlier launches (missing griddepcontrol.wait?)");
  items[place.item].state = item_state::done;
  items[place.item].own.leave();
}

void barrier(int line) {
  work_item &self = items[place.item];
  self.state = item_state::waiting;
  self.line = line;
  self.own.leave();
}

void enter(unsigned index) {
  const dim3 &block = place.running->block;
  place.item = index;
  auto &thread = place.running->module->ids.thread;
  thread = {index % block.x, index / block.x % block.y, index / block.x / block.y};
  items[index].own.enter();
}

/* Why an item does not come to what its warp makes together. */
const char *absence(const work_item &item) {
  return item.state == item_state::done      ? "has ended"
         : item.state == item_state::waiting ? "waits at a barrier"
                                             : "makes another";
}

/* Makes what a warp has met for, if it has; false: nothing. */
bool make_of_warp(unsigned first) {
  const unsigned end = std::min(first + warp_size, (unsigned)item_order.size());
  warp_operands lanes;
  unsigned leader = first;
  while (leader < end && items[leader].state != item_state::meeting) leader++;
  if (leader == end) return false;
  const work_item &one = items[leader];
  char text[256];
  place.item = leader;
  if (end - first < warp_size) {
    (void)snprintf(text, sizeof text, "line %d: a warp of %u items makes %.100s", one.line, end - first, one.text);
    stop(cudaErrorLaunchFailure, text);
  }
  for (unsigned i = first; i < end; i++) {
    const work_item &item = items[i];
    lanes[i - first] = item.operands;
    if (item.state == item_state::meeting && item.line == one.line && !strcmp(item.text, one.text)) continue;
    (void)snprintf(text, sizeof text, "divergent warp: at line %d %.100s, item %u %s", one.line, one.text, i,
                   absence(item));
    stop(cudaErrorLaunchFailure, text);
  }
  one.make(lanes);
  for (unsigned i = first; i < end; i++) items[i].state = item_state::ready;
  return true;
}

/* All have run as far as they could: whether some may go on because their warps have met. */
bool make_of_warps() {
  bool any = false;
  for (unsigned first = 0; first < item_order.size(); first += warp_size) any = make_of_warp(first) || any;
  return any;
}

/* All have run as far as they could: lets them pass the barrier they wait at. False: all have ended. */
bool pass_barrier() {
  unsigned waiting = 0, first = 0;
  for (unsigned i : item_order) {
    if (items[i].state != item_state::waiting) continue;
    if (!waiting++) first = i;
    if (items[i].line == items[first].line) continue;
    char text[128];
    place.item = i;
    (void)snprintf(text, sizeof text, "divergent barrier: waits at line %d of the text, item %u at line %d",
                   items[i].line, first, items[first].line);
    stop(cudaErrorLaunchFailure, text);
  }
  if (!waiting) return false;
  place.item = first;
  if (waiting < item_order.size())
    stop(cudaErrorLaunchFailure, "divergent barrier: waits while other items have ended");
  for (unsigned i : item_order) items[i].state = item_state::ready;
  place.now++;
  return true;
}

void run_group(unsigned index) {
  const launch &l = *place.running;
  place.group = index;
  place.group_began = ++place.now;
  auto &block = l.module->ids.block;
  block = {index % l.grid.x, index / l.grid.x % l.grid.y, index / l.grid.x / l.grid.y};
  memset(l.module->shared, 0xff, (size_t)(l.module->shared_end - l.module->shared)); /* floats of it are NaN */
  for (unsigned i : item_order) {
    items[i].state = item_state::ready;
    items[i].waited = !l.overlaps;
    items[i].own.start(stacks() + i * stack_size, stack_size, item_main);
  }
  begin_group();
  do {
    for (unsigned i : item_order)
      if (items[i].state == item_state::ready) enter(i);
  } while (make_of_warps() || pass_barrier());
  if (traffic_folder()) end_traffic_of_group();
}

/* $FAKECUDA_ORDER: as they are numbered, the other way round, or at random. */
void make_order(std::vector<unsigned> *order, size_t count) {
  static const char *const setting_of = setting("FAKECUDA_ORDER", "");
  static std::minstd_rand random((unsigned)atoi(setting_of));
  order->resize(count);
  std::iota(order->begin(), order->end(), 0U);
  if (!strcmp(setting_of, "reverse"))
    std::reverse(order->begin(), order->end());
  else if (*setting_of)
    std::shuffle(order->begin(), order->end(), random);
}

/* Some groups far apart stand for all whose traffic is counted. */
void sample_groups() {
  constexpr size_t most = 4;
  const size_t count = group_order.size();
  for (size_t i = 0; i < most && count > most; i++) group_order[i] = group_order[i * count / most];
  group_order.resize(std::min(count, most));
}

void prepare(const launch &l) {
  catch_faults();
  make_order(&item_order, size_t{l.block.x} * l.block.y * l.block.z);
  make_order(&group_order, size_t{l.grid.x} * l.grid.y * l.grid.z);
  arguments.clear();
  for (const std::vector<char> &a : l.arguments) arguments.push_back((void *)a.data());
  l.module->services = {barrier, traffic_folder() ? note_traffic : check_access, assembly};
  l.module->ids.block_size = {l.block.x, l.block.y, l.block.z};
  l.module->ids.grid_size = {l.grid.x, l.grid.y, l.grid.z};
  place.running = &l;
  place.launch_began = place.now + 1;
}

}  // namespace

void meet(const char *text, int line, const fakecuda_operand *operands, void (*make)(const warp_operands &lanes)) {
  work_item &self = items[place.item];
  self.state = item_state::meeting;
  self.line = line;
  self.text = text;
  self.operands = operands;
  self.make = make;
  self.own.leave();
}

bool is_on_stack(const volatile void *at, size_t bytes) {
  const char *p = (const char *)at, *own = stacks() + place.item * stack_size;
  return p >= own && p + bytes <= own + stack_size;
}

void note_wait() { items[place.item].waited = true; }

bool has_waited() { return items[place.item].waited; }

void stop(cudaError_t code, const char *what) {
  finding("kernel %s, group %u, item %u: %s", place.running->name, place.group, place.item, what);
  stop_code = code;
  siglongjmp(stop_point, 1);
}

cudaError_t run(const launch &l) {
  if (traffic_folder() && !begin_traffic(l.module)) return cudaSuccess;
  prepare(l);
  if (traffic_folder()) sample_groups();
  stop_code = cudaSuccess;
  if (!sigsetjmp(stop_point, 1))
    for (unsigned g : group_order) run_group(g);
  if (traffic_folder()) end_traffic(l);
  place.running = nullptr;
  if (stop_code == cudaSuccess && !slack_is_whole(l.name)) stop_code = cudaErrorIllegalAddress;
  return stop_code;
}

}  // namespace fakecuda

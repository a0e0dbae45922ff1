/* Every access of a kernel looked at ($FAKECUDA_CHECK). An interval is what a group does between two barriers. Two
   accesses to a byte, one of them a write, conflict when different work-items make them in one interval, or different
   groups in one launch; it does not matter in which order they came. Atomic accesses do not conflict with one another.
   What an asynchronous copy writes nobody may touch until it has arrived, and then it is its work-item's write. */
#include "fakecuda.h"

#include <cstdio>
#include <link.h>
#include <map>
#include <sys/mman.h>

namespace fakecuda {

/* Who used a byte last, in intervals (0: never) and work-items. */
struct access_cell {
  uint32_t written, read, read_before; /* read_before: the last interval of a group ahead of `read`'s */
  uint16_t writer, reader;
};

namespace {

/* Of a module that has run: the cells of its shared memory, and where its variables lie. */
struct module_record {
  access_cell *cells;
  const char *data, *data_end;
};

std::map<const fakecuda_module *, module_record> modules;
const fakecuda_module *latest; /* of record_of, with its record */
const module_record *latest_record;

constexpr uint16_t several = 0xffff, atomic = 0xfffe, under_way = 0xfffd; /* in place of a work-item */

access_cell *new_cells(size_t bytes) {
  void *cells = mmap(nullptr, bytes * sizeof(access_cell), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (cells == MAP_FAILED) stop(cudaErrorMemoryAllocation, "no memory to check accesses with");
  return (access_cell *)cells;
}

[[noreturn]] void stop_at(const volatile void *at, unsigned long bytes, const char *what, bool shared,
                          cudaError_t code = cudaSuccess) {
  char where[160], text[320];
  if (shared)
    (void)snprintf(where, sizeof where, "byte %td of shared memory", (const char *)at - place.running->module->shared);
  else
    describe(at, where, sizeof where);
  (void)snprintf(text, sizeof text, "%s: %lu bytes at %s", what, bytes, where);
  stop(code ? code : shared ? cudaErrorLaunchFailure : cudaErrorIllegalAddress, text);
}

/* Finds the writable segment that the module's own record lies in. */
int find_data(dl_phdr_info *info, size_t, void *sought) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto &segment = info->dlpi_phdr[i];
    module_record *r = (module_record *)sought;
    const char *from = (const char *)info->dlpi_addr + segment.p_vaddr, *to = from + segment.p_memsz;
    if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_W) || r->data < from || r->data >= to) continue;
    r->data = from;
    r->data_end = (const char *)(((uintptr_t)to + 4095) / 4096 * 4096); /* the rest of the page does not fault */
    return 1;
  }
  return 0;
}

const module_record &record_of(const fakecuda_module *m) {
  if (m == latest) return *latest_record;
  module_record &r = modules[m];
  if (!r.cells) {
    r = {new_cells((size_t)(m->shared_end - m->shared) + 1), (const char *)m, nullptr};
    (void)dl_iterate_phdr(find_data, &r);
  }
  latest = m;
  latest_record = &r;
  return r;
}

/* What a kernel may read besides allocations, shared memory and its stack: constants, which are not among variables
   (what is nowhere faults by itself). */
bool is_constant(const char *p, fakecuda_access what) {
  if (what != FAKECUDA_READ) return false;
  const module_record &r = record_of(place.running->module);
  return p < r.data || p >= r.data_end;
}

/* The cells of an access; nullptr: of what nobody else can use. */
access_cell *cells_of(const volatile void *at, unsigned long bytes, fakecuda_access what, bool *shared) {
  const fakecuda_module *m = place.running->module;
  const char *p = (const char *)at;
  if (p >= (const char *)&m->ids && p < (const char *)(&m->ids + 1)) return nullptr;
  *shared = p >= m->shared && p < m->shared_end;
  if (*shared) {
    if (bytes > (size_t)(m->shared_end - p)) stop_at(at, bytes, "out of bounds", true);
    return record_of(m).cells + (p - m->shared);
  }
  if (is_on_stack(p, bytes)) return nullptr;
  allocation *a = find_allocation(at);
  if (!a && is_constant(p, what)) return nullptr;
  if (!is_inside(a, at, bytes))
    stop_at(at, bytes, what == FAKECUDA_READ ? "read out of bounds" : "write out of bounds", false);
  if (!a->cells) a->cells = new_cells((size_t)(a->end - a->begin));
  return a->cells + (p - a->begin);
}

/* A device reads and writes 1, 2, 4, 8 or 16 bytes, at a multiple of as many. */
bool is_aligned(const volatile void *at, unsigned long bytes) {
  const bool one_access = bytes <= 16 && (bytes & (bytes - 1)) == 0;
  return !one_access || (uintptr_t)at % bytes == 0;
}

/* Whether interval `then` belongs to another group that this one is not ordered with. Shared memory is a group's own.
 */
bool is_elsewhere(uint32_t then, bool shared) {
  return !shared && then >= place.launch_began && then < place.group_began;
}

/* Whether something of interval `then` by `who` is ordered before an access now. */
bool is_ordered(uint32_t then, uint16_t who, bool shared) {
  return then == place.now ? who == place.item : !is_elsewhere(then, shared);
}

const char *conflict(const access_cell &c, fakecuda_access what, bool shared) {
  const bool both_atomic = what == FAKECUDA_ATOMIC && c.writer == atomic;
  if (what == FAKECUDA_READ && shared && c.written < place.group_began)
    return "read of shared memory that nobody wrote";
  if (c.writer == under_way && c.written >= place.group_began)
    return "touched while a copy to it is under way (missing wait?)";
  if (!both_atomic && !is_ordered(c.written, c.writer, shared)) return "conflict with a write (missing barrier?)";
  if (what == FAKECUDA_READ) return nullptr;
  if (!is_ordered(c.read, c.reader, shared) || is_elsewhere(c.read_before, shared))
    return "conflict with a read (missing barrier?)";
  return nullptr;
}

void note(access_cell *c, fakecuda_access what) {
  if (what != FAKECUDA_READ) {
    c->written = place.now;
    c->writer = what == FAKECUDA_ATOMIC ? atomic : what == FAKECUDA_COPY ? under_way : (uint16_t)place.item;
    return;
  }
  if (c->read == place.now) {
    if (c->reader != place.item) c->reader = several;
    return;
  }
  if (c->read < place.group_began) c->read_before = c->read;
  c->read = place.now;
  c->reader = (uint16_t)place.item;
}

}  // namespace

void forget_checks(const fakecuda_module *m) {
  auto row = modules.find(m);
  if (row == modules.end()) return;
  (void)munmap(row->second.cells, ((size_t)(m->shared_end - m->shared) + 1) * sizeof(access_cell));
  modules.erase(row);
  latest = nullptr;
}

void copy_arrived(const volatile void *at, unsigned long bytes) {
  bool shared = false;
  access_cell *cells = cells_of(at, bytes, FAKECUDA_WRITE, &shared);
  for (unsigned long i = 0; i < bytes; i++) note(&cells[i], FAKECUDA_WRITE);
}

void check_access(const volatile void *at, unsigned long bytes, fakecuda_access what, const void *) {
  bool shared = false;
  access_cell *cells = cells_of(at, bytes, what, &shared);
  if (cells && !shared && !has_waited())
    stop_at(at, bytes, "touched before earlier launches have ended (missing griddepcontrol.wait?)", shared);
  if (cells && !is_aligned(at, bytes)) stop_at(at, bytes, "misaligned", shared, cudaErrorMisalignedAddress);
  for (unsigned long i = 0; cells && i < bytes; i++) {
    if (const char *wrong = conflict(cells[i], what, shared)) stop_at((const char *)at + i, bytes, wrong, shared);
    note(&cells[i], what);
  }
}

}  // namespace fakecuda

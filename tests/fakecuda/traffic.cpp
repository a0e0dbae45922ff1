/* What accesses ask of a GPU's memory ($FAKECUDA_TRAFFIC), by NVIDIA's rules: an access of a warp is one request. In
   device memory it meets sectors of 32 bytes, in lines of 128. In shared memory, 32 banks of four bytes, it takes a
   turn for each word that a bank has to give; of 8 and 16 bytes, half and quarter warps go one after another. The n-th
   accesses of a warp's items at one place of the code between two barriers are taken for one request. Of a launch some
   groups run, once: what comes out is wrong, and said to be.

   FOLDER/traffic.tsv has a line for each launch, with the groups that ran and the sectors that they read and wrote,
   each counted once a group:

     launch NAME RUN GROUPS ITEMS READ WRITTEN

   and behind it one for each place that has accesses, with their counts in all groups that ran. LEAST are the turns
   without conflicts. MODULE is a file of FOLDER with the code's lines; the text that they belong to is there as well:

     place MODULE OFFSET SPACE DEED BYTES REQUESTS LANES SECTORS LINES TURNS LEAST */
#include "fakecuda.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <map>
#include <string>
#include <tuple>

namespace fakecuda {
namespace {

constexpr unsigned sector = 32, line = 128, bank = 4, banks = 32;

/* Of each lane of a warp the address; nullptr: it takes no part. */
using request = std::array<const char *, warp_size>;

/* A place in the code, in one of the two kinds of memory. */
struct place_of_code {
  const void *code;
  bool shared;
  fakecuda_access deed;
  bool operator<(const place_of_code &o) const {
    return std::tie(code, shared, deed) < std::tie(o.code, o.shared, o.deed);
  }
};

struct counts {
  unsigned bytes; /* of an access */
  unsigned long requests, lanes, sectors, lines, turns, least;
  std::map<unsigned, std::vector<request>> pending; /* of this interval, by warp */
  std::map<unsigned, size_t> made;                  /* ... accesses, by work-item */
};

std::set<const fakecuda_module *> counted;
std::map<place_of_code, counts> places; /* of the launch */
std::set<uintptr_t> met[2];             /* sectors that the group read, and wrote */
unsigned long groups, sectors_met[2];
uint32_t interval;

uintptr_t number(const char *at, unsigned unit) { return (uintptr_t)at / unit; }

void count_device(counts *c, const request &r, bool written) {
  std::set<uintptr_t> sectors, lines;
  for (const char *at : r)
    for (const char *p = at; at && p < at + c->bytes; p += bank) {
      sectors.insert(number(p, sector));
      lines.insert(number(p, line));
    }
  c->sectors += sectors.size();
  c->lines += lines.size();
  met[written].insert(sectors.begin(), sectors.end());
}

void count_shared(counts *c, const request &r) {
  const unsigned together = c->bytes <= bank ? warp_size : std::max(warp_size * bank / c->bytes, 1U);
  for (unsigned first = 0; first < warp_size; first += together) {
    std::set<uintptr_t> words;
    for (unsigned i = first; i < first + together; i++)
      for (const char *p = r[i]; p && p < r[i] + c->bytes; p += bank) words.insert(number(p, bank));
    unsigned of_bank[banks] = {};
    for (uintptr_t word : words) of_bank[word % banks]++;
    c->turns += *std::max_element(of_bank, of_bank + banks);
    c->least += (words.size() + banks - 1) / banks;
  }
}

void end_interval() {
  for (auto &[at, c] : places) {
    for (const auto &[warp, requests] : c.pending)
      for (const request &r : requests) {
        c.requests++;
        c.lanes += warp_size - (unsigned long)std::count(r.begin(), r.end(), nullptr);
        if (at.shared)
          count_shared(&c, r);
        else
          count_device(&c, r, at.deed != FAKECUDA_READ);
      }
    c.pending.clear();
    c.made.clear();
  }
  interval = place.now;
}

FILE *table() {
  static FILE *file = fopen((traffic_folder() + std::string("/traffic.tsv")).c_str(), "w");
  if (!file) abort();
  return file;
}

}  // namespace

const char *traffic_folder() {
  static const char *const folder = setting("FAKECUDA_TRAFFIC", "");
  return *folder ? folder : nullptr;
}

bool begin_traffic(const fakecuda_module *m) {
  static bool said;
  if (!said) fprintf(stderr, "fakecuda (CPU stand-in, not a GPU): counts traffic; all results are wrong\n");
  said = true;
  return counted.insert(m).second;
}

void forget_traffic(const fakecuda_module *m) { counted.erase(m); }

void note_traffic(const volatile void *at, unsigned long bytes, fakecuda_access deed, const void *code) {
  const fakecuda_module *m = place.running->module;
  const char *p = (const char *)at;
  const bool shared = p >= m->shared && p < m->shared_end;
  if (!shared && (is_on_stack(p, bytes) || !is_inside(find_allocation(at), at, bytes))) return;
  if (interval != place.now) end_interval();
  counts &c = places[{code, shared, deed}];
  c.bytes = (unsigned)bytes;
  std::vector<request> &requests = c.pending[place.item / warp_size];
  const size_t n = c.made[place.item]++;
  if (requests.size() <= n) requests.push_back({});
  requests[n][place.item % warp_size] = p;
}

void end_traffic_of_group() {
  end_interval();
  groups++;
  for (int written = 0; written < 2; written++) {
    sectors_met[written] += met[written].size();
    met[written].clear();
  }
}

void end_traffic(const launch &l) {
  static const char *const deeds[] = {"read", "write", "atomic", "copy"};
  fprintf(table(), "launch\t%s\t%lu\t%u\t%u\t%lu\t%lu\n", l.name, groups, l.grid.x * l.grid.y * l.grid.z,
          l.block.x * l.block.y * l.block.z, sectors_met[0], sectors_met[1]);
  for (const auto &[at, c] : places) {
    Dl_info info = {};
    (void)dladdr(at.code, &info);
    fprintf(table(), "place\t%s\t%tx\t%s\t%s\t%u\t%lu\t%lu\t%lu\t%lu\t%lu\t%lu\n", info.dli_fname,
            (const char *)at.code - (const char *)info.dli_fbase, at.shared ? "shared" : "device", deeds[at.deed],
            c.bytes, c.requests, c.lanes, c.sectors, c.lines, c.turns, c.least);
  }
  fflush(table());
  places.clear();
  groups = sectors_met[0] = sectors_met[1] = 0;
}

}  // namespace fakecuda

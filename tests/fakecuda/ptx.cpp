/* Inline PTX, as far as kernels use it. Written from the PTX ISA ("Matrix fragments for mma.m16n8k8" with .tf32, "...
   for mma.m16n8k16" with .bf16; cvt; cp.async), not from the kernels: operands are found by their numbers in the text.
 */
#include "fakecuda.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>

namespace fakecuda {

namespace {

/* An operand as the text has it: the number of one of the statement's, or an integer. */
struct token {
  bool immediate;
  unsigned value;
};

/* "name {%0, %1}, [%2], 16;": a list for each operand, of one token unless it is a vector. */
struct instruction {
  std::string name;
  std::vector<std::vector<token>> operands;
};

[[noreturn]] void refuse(const char *text, const char *why) {
  char said[320];
  (void)snprintf(said, sizeof said, "inline PTX \"%.160s\": %s", text, why);
  stop(cudaErrorLaunchFailure, said);
}

instruction parse(const std::string &text) {
  instruction made;
  const size_t end = text.find_first_of(" ;");
  made.name = text.substr(0, end);
  bool vector = false, next = true;
  for (const char *at = text.c_str() + end; *at && *at != ';';) {
    if (*at == '{' || *at == '}') {
      vector = *at++ == '{';
      if (vector) made.operands.emplace_back();
    } else if (*at == ',') {
      next = !vector;
      at++;
    } else if (*at == '%' || (*at >= '0' && *at <= '9')) {
      const bool immediate = *at != '%';
      char *rest;
      if (!vector && next) made.operands.emplace_back();
      if (made.operands.empty()) refuse(text.c_str(), "cannot be read");
      made.operands.back().push_back({immediate, (unsigned)strtoul(at + !immediate, &rest, 0)});
      next = false;
      at = rest;
    } else {
      at++; /* spaces and the brackets of addresses */
    }
  }
  return made;
}

enum class deed {
  unknown,
  round_tf32,
  round_tf32_even,
  round_bf16,
  round_f16,
  widen_f16,
  fma_f16,
  permute,
  copy,
  wait,
  turn,
  multiply_tf32,
  multiply_bf16,
  let_next_begin,
  wait_for_earlier
};

/* An instruction with what it does. By the address of its text, which is a constant of the module, until the next
 * group. */
struct known {
  const char *text;
  instruction parsed;
  deed what;
};

std::vector<std::unique_ptr<known>> known_texts;

deed deed_of(const std::string &name) {
  static const std::map<std::string, deed> table = {
      {"cvt.rna.tf32.f32", deed::round_tf32},
      {"cvt.rn.tf32.f32", deed::round_tf32_even},
      {"cvt.rn.bf16x2.f32", deed::round_bf16},
      {"cvt.rn.f16.f32", deed::round_f16},
      {"cvt.f32.f16", deed::widen_f16},
      {"fma.rn.f16x2", deed::fma_f16},
      {"prmt.b32", deed::permute},
      {"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", deed::turn},
      {"cp.async.cg.shared.global", deed::copy},
      {"cp.async.wait_all", deed::wait},
      {"griddepcontrol.launch_dependents", deed::let_next_begin}, /* launches run one by one here */
      {"griddepcontrol.wait", deed::wait_for_earlier},
      {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", deed::multiply_tf32},
      {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", deed::multiply_bf16}};
  const auto row = table.find(name);
  return row == table.end() ? deed::unknown : row->second;
}

/* That has the instruction: 90 for sm_90. */
unsigned first_architecture(deed what) {
  switch (what) {
    case deed::round_f16:
    case deed::widen_f16:
    case deed::fma_f16:
    case deed::permute:
      return 53;
    case deed::turn:
      return 75;
    case deed::round_tf32_even:
    case deed::let_next_begin:
    case deed::wait_for_earlier:
      return 90;
    default:
      return 80;
  }
}

const known &known_of(const char *text, unsigned count) {
  for (const auto &k : known_texts)
    if (k->text == text) return *k;
  instruction made = parse(text);
  for (const auto &vector : made.operands)
    for (const token &t : vector)
      if (!t.immediate && t.value >= count) refuse(text, "names an operand that the statement has not");
  const deed what = deed_of(made.name);
  const unsigned first = first_architecture(what);
  if (place.running->module->architecture < first) refuse(text, ("needs sm_" + std::to_string(first)).c_str());
  known_texts.push_back(std::make_unique<known>(known{text, std::move(made), what}));
  return *known_texts.back();
}

/* ---- values ---- */

uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* Bytes of a register by the letter of its constraint. */
unsigned size_of(char type) { return type == 'l' ? 8 : type == 'h' ? 2 : 4; }

/* Operand `i` of an instruction, element `e` of its vector, in one lane's statement. */
class lane {
 public:
  lane(const known &what, const fakecuda_operand *operands)
      : text_(what.text), instruction_(what.parsed), operands_(operands) {}
  uint64_t read(unsigned i, unsigned e, char type) const {
    const token &t = at(i, e);
    if (t.immediate) return t.value;
    const fakecuda_operand &o = operands_[t.value];
    uint64_t value = 0;
    check(o, type);
    if (o.use == '=') refuse(text_, "reads what the statement only writes");
    memcpy(&value, o.at, o.bytes);
    return value;
  }
  void write(unsigned i, unsigned e, char type, uint32_t value) const {
    const token &t = at(i, e);
    if (t.immediate) refuse(text_, "writes to a number");
    const fakecuda_operand &o = operands_[t.value];
    check(o, type);
    if (o.use != '=' && o.use != '+') refuse(text_, "writes what the statement only reads");
    memcpy(o.at, &value, o.bytes); /* the lower half of 'h' */
  }
  const char *text() const { return text_; }

 private:
  const token &at(unsigned i, unsigned e) const {
    if (i >= instruction_.operands.size() || e >= instruction_.operands[i].size()) refuse(text_, "too few operands");
    return instruction_.operands[i][e];
  }
  void check(const fakecuda_operand &o, char type) const {
    if (o.type != type || o.bytes != size_of(type)) refuse(text_, "an operand of another type");
  }
  const char *text_;
  const instruction &instruction_;
  const fakecuda_operand *operands_;
};

/* ---- conversions ---- */

/* Round to nearest, 10 bits of mantissa, ties away from zero or to even. */
uint32_t to_tf32(float value, bool even) {
  const uint32_t bits = bits_of(value), half = even ? 0xfff + (bits >> 13 & 1) : 0x1000;
  if (std::isnan(value)) return 0x7fffffff;
  return std::isinf(value) ? bits : (bits + half) & ~0x1fffU;
}

/* Round to nearest, ties to even, 7 bits of mantissa. */
uint32_t to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  return std::isnan(value) ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* Round to nearest, ties to even, 10 bits of mantissa, exponents of 2^-14 and more; below that, multiples of 2^-24. */
uint32_t to_f16(double value) {
  const uint32_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return 0x7fff;
  int exponent;
  (void)std::frexp(value, &exponent); /* |value| < 2^exponent */
  const double step = std::ldexp(1, std::max(exponent - 11, -24)),
               rounded = std::nearbyint(std::fabs(value) / step) * step;
  if (rounded >= 65536) return sign | 0x7c00;
  if (rounded < 0x1p-14) return sign | (uint32_t)(rounded * 0x1p24);
  (void)std::frexp(rounded, &exponent);
  return sign | (((uint32_t)(exponent + 14) << 10) + (uint32_t)std::ldexp(rounded, 11 - exponent) - 1024);
}

double f16_of(uint32_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double size = exponent == 31  ? (mantissa ? NAN : INFINITY)
                      : exponent == 0 ? std::ldexp(mantissa, -24)
                                      : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -size : size;
}

/* Of both halves of a word. In double the product is exact and the sum almost always. */
uint32_t fma_f16(uint32_t a, uint32_t b, uint32_t c) {
  const auto half = [&](unsigned shift) {
    return to_f16(f16_of(a >> shift & 0xffff) * f16_of(b >> shift & 0xffff) + f16_of(c >> shift & 0xffff));
  };
  return half(16) << 16 | half(0);
}

/* ---- products of matrices ---- */

const known *making; /* what a warp makes */

/* Row `row`, column `column` of a, b and the sums, by the formulas of the ISA: registers i of the lane with groupID
   `group` and threadID_in_group `thread`. */
constexpr unsigned rows = 16, columns = 8;

struct matrices {
  double a[rows][16], b[16][columns];
  float c[rows][columns];
};

float tf32_of(uint32_t bits) {
  const float value = float_of(bits);
  if ((bits & 0x1fff) != 0 && !std::isnan(value)) refuse(making->text, "a factor is not rounded to tf32 (cvt)");
  return value;
}

void take_tf32(const lane &l, unsigned group, unsigned thread, matrices *m) {
  for (unsigned i = 0; i < 4; i++) {
    const unsigned row = i == 0 || i == 2 ? group : group + 8, column = i == 0 || i == 1 ? thread : thread + 4;
    m->a[row][column] = tf32_of((uint32_t)l.read(1, i, 'r'));
  }
  for (unsigned i = 0; i < 2; i++) m->b[i == 0 ? thread : thread + 4][group] = tf32_of((uint32_t)l.read(2, i, 'r'));
}

void take_bf16(const lane &l, unsigned group, unsigned thread, matrices *m) {
  const auto element = [&l](unsigned operand,
                            unsigned i) { /* the lower half of a register comes first */
                                          return float_of((uint32_t)l.read(operand, i / 2, 'r') >> i % 2 * 16 << 16);
  };
  for (unsigned i = 0; i < 8; i++) {
    const unsigned row = (i < 2) || (i >= 4 && i < 6) ? group : group + 8;
    const unsigned column = thread * 2 + (i & 1) + (i < 4 ? 0 : 8);
    m->a[row][column] = element(1, i);
  }
  for (unsigned i = 0; i < 4; i++) m->b[thread * 2 + (i & 1) + (i < 2 ? 0 : 8)][group] = element(2, i);
}

unsigned row_of_sum(unsigned group, unsigned i) { return i < 2 ? group : group + 8; }
unsigned column_of_sum(unsigned thread, unsigned i) { return thread * 2 + (i & 1); }

/* Towards zero: the ISA leaves the rounding of sums open, and matrix units do not round to the nearest. */
float cut(double sum) {
  const float nearest = (float)sum;
  return std::fabs((double)nearest) > std::fabs(sum) && std::isfinite(nearest) ? std::nextafter(nearest, 0.0F)
                                                                               : nearest;
}

template <unsigned depth, void (*take)(const lane &, unsigned, unsigned, matrices *)>
void multiply(const warp_operands &operands) {
  matrices m = {};
  for (unsigned id = 0; id < warp_size; id++) {
    const lane l(*making, operands[id]);
    const unsigned group = id >> 2, thread = id % 4;
    take(l, group, thread, &m);
    for (unsigned i = 0; i < 4; i++)
      m.c[row_of_sum(group, i)][column_of_sum(thread, i)] = float_of((uint32_t)l.read(3, i, 'f'));
  }
  for (unsigned r = 0; r < rows; r++) {
    double sums[columns];
    std::copy(m.c[r], m.c[r] + columns, sums);
    for (unsigned k = 0; k < depth; k++) /* outside, so that columns can go side by side */
      for (unsigned c = 0; c < columns; c++) sums[c] += m.a[r][k] * m.b[k][c];
    for (unsigned c = 0; c < columns; c++) m.c[r][c] = cut(sums[c]);
  }
  for (unsigned id = 0; id < warp_size; id++) {
    const lane l(*making, operands[id]);
    for (unsigned i = 0; i < 4; i++) l.write(0, i, 'f', bits_of(m.c[row_of_sum(id >> 2, i)][column_of_sum(id % 4, i)]));
  }
}

void multiply_tf32(const warp_operands &operands) { multiply<8, take_tf32>(operands); }
void multiply_bf16(const warp_operands &operands) { multiply<16, take_bf16>(operands); }

/* ---- matrices from shared memory ---- */

/* Four matrices of 8 x 8 halves: lanes 8 m... give the addresses of the rows of number m. Turned: register m of a lane
   has, of column lane / 4, rows 2 (lane % 4) and the next. */
constexpr unsigned matrix_side = 8, row_bytes = 16;

const char *row_at(const lane &l) {
  const fakecuda_module *m = place.running->module;
  const uint64_t at = l.read(1, 0, 'r');
  if (at % row_bytes != 0) refuse(l.text(), "an address is not a multiple of 16");
  if (at + row_bytes > (size_t)(m->shared_end - m->shared)) refuse(l.text(), "reads outside of shared memory");
  return m->shared + at;
}

void turn_matrices(const warp_operands &operands) {
  uint16_t matrix[warp_size][matrix_side];
  for (unsigned id = 0; id < warp_size; id++) memcpy(matrix[id], row_at(lane(*making, operands[id])), row_bytes);
  for (unsigned id = 0; id < warp_size; id++)
    for (unsigned m = 0; m < 4; m++) {
      const unsigned row = m * matrix_side + 2 * (id % 4), column = id / 4;
      lane(*making, operands[id]).write(0, m, 'r', (uint32_t)matrix[row + 1][column] << 16 | matrix[row][column]);
    }
}

/* Byte n of the result: that of b:a which digit n of the selector names, or (its bit 3) eight times that one's sign. */
uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = (uint64_t)b << 32 | a;
  uint32_t made = 0;
  for (unsigned n = 0; n < 4; n++) {
    const unsigned digit = selector >> 4 * n & 15, byte = bytes >> 8 * (digit & 7) & 255;
    made |= (digit & 8 ? (byte & 128 ? 255U : 0U) : byte) << 8 * n;
  }
  return made;
}

/* ---- copies ---- */

constexpr size_t copy_size = 16;

struct copy {
  char *to;
  const char *from;
  size_t bytes; /* the rest is zeros */
};

std::vector<copy> under_way[1024]; /* by work-item */

/* Until it has arrived there is nothing (as floats: NaN). */
void start_copy(const lane &l, const char *text, const void *code) {
  const fakecuda_module *m = place.running->module;
  const uint64_t to = l.read(0, 0, 'r'), from = l.read(1, 0, 'l'), bytes = l.read(3, 0, 'r');
  if (l.read(2, 0, 'r') != copy_size || bytes > copy_size) refuse(text, "copies 16 bytes, of at most 16");
  if (to % copy_size != 0 || from % copy_size != 0) refuse(text, "an address is not a multiple of 16");
  if (to + copy_size > (size_t)(m->shared_end - m->shared)) refuse(text, "writes outside of shared memory");
  const copy c = {m->shared + to, (const char *)from, bytes};
  if (m->checked && bytes) m->services.access(c.from, bytes, FAKECUDA_READ, code);
  if (m->checked) m->services.access(c.to, copy_size, FAKECUDA_COPY, code);
  memset(c.to, 0xff, copy_size);
  under_way[place.item].push_back(c);
}

void finish_copies() {
  for (const copy &c : under_way[place.item]) {
    memset(c.to, 0, copy_size);
    memcpy(c.to, c.from, c.bytes);
    if (place.running->module->checked && !traffic_folder()) copy_arrived(c.to, copy_size);
  }
  under_way[place.item].clear();
}

}  // namespace

void begin_group() {
  for (std::vector<copy> &of_item : under_way) of_item.clear();
  known_texts.clear();
}

bool has_copies() { return !under_way[place.item].empty(); }

void assembly(const char *text, const fakecuda_operand *operands, unsigned count, int line, const void *code) {
  const known &k = known_of(text, count);
  const lane l(k, operands);
  switch (k.what) {
    case deed::round_tf32:
    case deed::round_tf32_even:
      l.write(0, 0, 'r', to_tf32(float_of((uint32_t)l.read(1, 0, 'f')), k.what == deed::round_tf32_even));
      break;
    case deed::round_bf16: {
      const uint32_t upper = to_bf16(float_of((uint32_t)l.read(1, 0, 'f')));
      l.write(0, 0, 'r', upper << 16 | to_bf16(float_of((uint32_t)l.read(2, 0, 'f'))));
      break;
    }
    case deed::round_f16:
      l.write(0, 0, 'h', to_f16((double)float_of((uint32_t)l.read(1, 0, 'f'))));
      break;
    case deed::widen_f16:
      l.write(0, 0, 'f', bits_of((float)f16_of((uint32_t)l.read(1, 0, 'h'))));
      break;
    case deed::fma_f16:
      l.write(0, 0, 'r',
              fma_f16((uint32_t)l.read(1, 0, 'r'), (uint32_t)l.read(2, 0, 'r'), (uint32_t)l.read(3, 0, 'r')));
      break;
    case deed::permute:
      l.write(0, 0, 'r',
              permuted((uint32_t)l.read(1, 0, 'r'), (uint32_t)l.read(2, 0, 'r'), (uint32_t)l.read(3, 0, 'r')));
      break;
    case deed::turn:
      if (place.running->module->checked)
        place.running->module->services.access(row_at(l), row_bytes, FAKECUDA_READ, code);
      making = &k;
      meet(text, line, operands, turn_matrices);
      break;
    case deed::copy:
      start_copy(l, text, code);
      break;
    case deed::wait:
      finish_copies();
      break;
    case deed::multiply_tf32:
    case deed::multiply_bf16:
      making = &k;
      meet(text, line, operands, k.what == deed::multiply_tf32 ? multiply_tf32 : multiply_bf16);
      break;
    case deed::let_next_begin:
      break;
    case deed::wait_for_earlier:
      note_wait();
      break;
    case deed::unknown:
      refuse(text, "not known to the stand-in");
  }
}

}  // namespace fakecuda

/* Twins of the stages of Winograd's algorithm, with the matrices of the kernels. */
#include "backends/ref/ref.h"
#include "kernels/winograd_matrices.h"

#include <string.h>

enum { MOST = 7, ROW = 8 }; /* points of one dimension, M + 2; of a row for kernels of 5 */

/* For M from 2: A [M][T], G [T][3], B [T][T]. */
#define Q(n, d) ((double)(n) / (d))
static const double matrix_a2[] = WINOGRAD_A2, matrix_a3[] = WINOGRAD_A3, matrix_a4[] = WINOGRAD_A4,
                    matrix_a5[] = WINOGRAD_A5;
static const double matrix_g2[] = WINOGRAD_G2, matrix_g3[] = WINOGRAD_G3, matrix_g4[] = WINOGRAD_G4,
                    matrix_g5[] = WINOGRAD_G5;
static const double matrix_b2[] = WINOGRAD_B2, matrix_b3[] = WINOGRAD_B3, matrix_b4[] = WINOGRAD_B4,
                    matrix_b5[] = WINOGRAD_B5;
static const double row_a[] = WINOGRAD_ROW_A, row_b[] = WINOGRAD_ROW_B, row_g[] = WINOGRAD_ROW_G;
static const double *const matrix_a[] = {matrix_a2, matrix_a3, matrix_a4, matrix_a5},
                           *const matrix_g[] = {matrix_g2, matrix_g3, matrix_g4, matrix_g5},
                           *const matrix_b[] = {matrix_b2, matrix_b3, matrix_b4, matrix_b5};

/* A matrix by rows, or its transpose. */
typedef struct matrix {
  const double *values; /* [rows][columns], or [columns][rows] when turned */
  int rows, columns;
  bool turned;
} matrix;

REF_INLINE double at(const matrix *m, int row, int column) {
  return m->turned ? m->values[column * m->rows + row] : m->values[row * m->columns + column];
}

/* sum[lanes] += factor * in[lanes] */
REF_INLINE void add_lanes(double factor, const double *in, double *sum, int lanes) {
  for (int l = 0; l < lanes; l++) sum[l] += factor * in[l];
}

/* out[rows][rows][lanes] = m in[columns][columns][lanes] m' */
REF_INLINE void sandwich(const matrix *m, const double *in, double *out, int lanes) {
  double half[MOST * MOST * REF_LANES] = {0};
  memset(out, 0, sizeof *out * (size_t)(m->rows * m->rows * lanes));
  for (int r = 0; r < m->rows; r++)
    for (int c = 0; c < m->columns; c++)
      for (int k = 0; k < m->columns; k++)
        add_lanes(at(m, r, k), in + (k * m->columns + c) * lanes, half + (r * m->columns + c) * lanes, lanes);
  for (int r = 0; r < m->rows; r++)
    for (int c = 0; c < m->rows; c++)
      for (int k = 0; k < m->columns; k++)
        add_lanes(at(m, c, k), half + (r * m->columns + k) * lanes, out + (r * m->rows + c) * lanes, lanes);
}

/* out[rows][lanes] = m[rows][columns] in[columns][lanes] */
REF_INLINE void multiply(const double *m, int rows, int columns, const double *in, double *out, int lanes) {
  memset(out, 0, sizeof *out * (size_t)(rows * lanes));
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) add_lanes(m[r * columns + c], in + c * lanes, out + r * lanes, lanes);
}

/* u[OC][IC][5][8] of output channel `o`. */
static void weights_by_rows(const duet_constants *k, const ref_real *w, ptrdiff_t o, ref_real *u) {
  for (ptrdiff_t row = o * k->IC * k->K; row < (o + 1) * k->IC * k->K; row++) {
    double taps[5], points[ROW];
    for (int j = 0; j < k->K; j++) {
      const ptrdiff_t kernel = row / k->K * k->K * k->K, at = row % k->K * k->K + j;
      taps[j] = (double)w[kernel + (k->BACK ? k->K * k->K - 1 - at : at)];
    }
    multiply(row_g, ROW, k->K, taps, points, 1);
    for (int p = 0; p < ROW; p++) u[row * ROW + p] = (ref_real)points[p];
  }
}

void REF_TWIN(winograd_weights)(const ref_call *call) {
  if (call->k->K == 5) {
    weights_by_rows(call->k, call->operand[0], (ptrdiff_t)call->index, call->operand[1]);
    return;
  }
  const int T = call->k->WINOGRAD + 2;
  const ptrdiff_t ic = call->k->IC, oc = call->k->OC, o = (ptrdiff_t)call->index;
  const matrix g = {matrix_g[T - 4], T, 3, false};
  const ref_real *w = call->operand[0];
  ref_real *u = call->operand[1];
  for (ptrdiff_t c = 0; c < ic; c++) {
    double taps[9] = {0}, points[MOST * MOST];
    for (int i = 0; i < 9; i++) taps[i] = (double)w[(o * ic + c) * 9 + (call->k->BACK ? 8 - i : i)];
    sandwich(&g, taps, points, 1);
    for (int i = 0; i < T * T; i++) u[(i * oc + o) * ic + c] = (ref_real)points[i];
  }
}

/* d[16] = pixel (row, column) of channel `c`, 0 outside. */
REF_INLINE void take_pixel(const ref_winograd *w, ptrdiff_t c, int row, int column, double *d) {
  const bool inside = row >= 0 && row < w->height && column >= 0 && column < w->width;
  const ref_real *x = w->x + (inside ? ((c * w->height + row) * w->width + column) * REF_LANES : 0);
  for (int l = 0; l < REF_LANES; l++) d[l] = inside ? (double)x[l] : 0;
}

/* out[M][16] = results of a row, whose window begins at (top, left). */
REF_INLINE void row_tile(const ref_winograd *w, int top, int left, double *out) {
  double sum[ROW * REF_LANES] = {0}, d[ROW * REF_LANES], points[ROW * REF_LANES];
  for (ptrdiff_t c = 0; c < w->channels; c++)
    for (int kh = 0; kh < w->K; kh++) {
      for (int i = 0; i < ROW; i++) take_pixel(w, c, top + kh, left + i, d + i * REF_LANES);
      multiply(row_b, ROW, ROW, d, points, REF_LANES);
      for (int i = 0; i < ROW; i++)
        add_lanes((double)w->u[c * w->step + kh * ROW + i], points + i * REF_LANES, sum + i * REF_LANES, REF_LANES);
    }
  multiply(row_a, w->M, ROW, sum, out, REF_LANES);
}

/* out[M*M][16] = one tile, whose patch begins at (top, left). */
REF_INLINE void tile(const ref_winograd *w, int top, int left, double *out) {
  const int T = w->M + 2;
  const matrix a = {matrix_a[w->M - 2], w->M, T, false}, b = {matrix_b[w->M - 2], T, T, false};
  double sum[MOST * MOST * REF_LANES] = {0}, d[MOST * MOST * REF_LANES], points[MOST * MOST * REF_LANES];
  for (ptrdiff_t c = 0; c < w->channels; c++) {
    for (int i = 0; i < T * T; i++) take_pixel(w, c, top + i / T, left + i % T, d + i * REF_LANES);
    sandwich(&b, d, points, REF_LANES);
    for (int i = 0; i < T * T; i++)
      add_lanes((double)w->u[i * w->points + c * w->step], points + i * REF_LANES, sum + i * REF_LANES, REF_LANES);
  }
  sandwich(&a, sum, out, REF_LANES);
}

REF_INLINE void results_by_rows(const ref_winograd *w, int row, double out[][REF_LANES]) {
  for (int column = 0; column < w->columns; column += w->M) {
    double results[ROW][REF_LANES];
    row_tile(w, row - w->pad, column - w->pad, results[0]);
    for (int i = 0; i < w->M && column + i < w->columns; i++) memcpy(out[column + i], results[i], sizeof *out);
  }
}

void REF_TWIN(winograd_begin)(ref_winograd *w, const ref_call *call, bool back, ptrdiff_t channel) {
  const duet_constants *k = call->k;
  const ptrdiff_t kernel = k->K == 5 ? k->K * ROW : 1; /* floats from one kernel's points to the next one's */
  w->x = call->operand[0];
  w->channels = back ? k->OC : k->IC;
  w->height = back ? k->OH : k->IH;
  w->width = back ? k->OW : k->IW;
  w->pad = back ? k->K - 1 - k->PAD : k->PAD;
  w->columns = back ? k->IW : k->OW;
  w->u = (const ref_real *)call->operand[1] + channel * (back ? 1 : k->IC) * kernel;
  w->points = (ptrdiff_t)k->OC * k->IC;
  w->step = (back ? k->IC : 1) * kernel;
  w->K = k->K;
  w->M = k->WINOGRAD;
  w->band = -1;
}

REF_CLONES void REF_TWIN(winograd_row)(ref_winograd *w, int row, double out[][REF_LANES]) {
  if (w->K == 5) {
    results_by_rows(w, row, out);
    return;
  }
  const int M = w->M, band = row / M;
  for (int column = 0; band != w->band && column < w->columns; column += M) {
    double results[MOST * MOST][REF_LANES];
    tile(w, band * M - w->pad, column - w->pad, results[0]);
    for (int i = 0; i < M * M; i++)
      if (column + i % M < w->columns) memcpy(w->rows[i / M][column + i % M], results[i], sizeof *results);
  }
  w->band = band;
  memcpy(out, w->rows[row % M], sizeof *out * (size_t)w->columns);
}

/* Where point `i` of channel `c` of image `l` is in vt[T*T][channels/16][16 images][16]. */
static ptrdiff_t turned_at(ptrdiff_t channels, ptrdiff_t i, ptrdiff_t c, ptrdiff_t l) {
  return ((i * (channels / REF_LANES) + c / REF_LANES) * REF_LANES + l) * REF_LANES + c % REF_LANES;
}

REF_CLONES void REF_TWIN(winograd_to_points)(const ref_call *call) {
  const duet_constants *k = call->k;
  const int M = k->WINOGRAD, T = M + 2, side = k->BACK ? M : T, pad = k->BACK ? 0 : k->PAD;
  const int channels = k->BACK ? k->OC : k->IC;
  const ref_winograd w = {.x = call->operand[0], .height = k->BACK ? k->OH : k->IH, .width = k->BACK ? k->OW : k->IW};
  const matrix m = k->BACK ? (matrix){matrix_a[M - 2], T, M, true} : (matrix){matrix_b[M - 2], T, T, false};
  ref_real *v = call->operand[1], *vt = k->TRAIN && !k->BACK ? call->operand[2] : NULL;
  for (ptrdiff_t c = 0; c < channels; c++) {
    double d[MOST * MOST * REF_LANES], points[MOST * MOST][REF_LANES];
    for (int i = 0; i < side * side; i++) take_pixel(&w, c, i / side - pad, i % side - pad, d + i * REF_LANES);
    sandwich(&m, d, points[0], REF_LANES);
    for (int i = 0; i < T * T; i++)
      for (int l = 0; l < REF_LANES; l++) {
        v[(i * channels + c) * REF_LANES + l] = (ref_real)points[i][l];
        if (vt) vt[turned_at(channels, i, c, l)] = (ref_real)points[i][l];
      }
  }
}

void REF_TWIN(winograd_product)(const ref_call *call) {
  const duet_constants *k = call->k;
  const ptrdiff_t sources = k->BACK ? k->OC : k->IC, results = k->BACK ? k->IC : k->OC, ic = k->IC;
  const ptrdiff_t parts = (results + k->ROWS - 1) / k->ROWS, place = (ptrdiff_t)call->index / parts;
  const ptrdiff_t first = (ptrdiff_t)call->index % parts * k->ROWS;
  const ref_real *u = (const ref_real *)call->operand[1] + place * k->OC * ic;
  for (int b = 0; b < k->BLOCKS; b++)
    for (ptrdiff_t d = first; d < first + k->ROWS && d < results; d++) {
      const ref_real *v = (const ref_real *)ref_at(call, 0, b) + place * sources * REF_LANES;
      double sum[REF_LANES] = {0};
      for (ptrdiff_t s = 0; s < sources; s++) {
        const double weight = (double)(k->BACK ? u[s * ic + d] : u[d * ic + s]);
        for (int l = 0; l < REF_LANES; l++) sum[l] += weight * v[s * REF_LANES + l];
      }
      ref_store((ref_real *)ref_at(call, 2, b) + (place * results + d) * REF_LANES, sum, NULL, 0);
    }
}

REF_CLONES void REF_TWIN(winograd_from_points)(const ref_call *call) {
  const duet_constants *k = call->k;
  const int M = k->WINOGRAD, T = M + 2, side = k->BACK ? T : M, pad = k->BACK ? k->PAD : 0;
  const int channels = k->BACK ? k->IC : k->OC, height = k->BACK ? k->IH : k->OH, width = k->BACK ? k->IW : k->OW;
  const matrix turn = k->BACK ? (matrix){matrix_b[M - 2], T, T, true} : (matrix){matrix_a[M - 2], M, T, false};
  const ref_real *m = call->operand[0], *bias = call->operand[1], *x = call->operand[2];
  ref_real *y = call->operand[3];
  for (ptrdiff_t c = 0; c < channels; c++) {
    double points[MOST * MOST][REF_LANES], out[MOST * MOST][REF_LANES];
    for (int i = 0; i < T * T; i++)
      for (int l = 0; l < REF_LANES; l++) points[i][l] = (double)m[(i * channels + c) * REF_LANES + l];
    sandwich(&turn, points[0], out[0], REF_LANES);
    for (int i = 0; i < height * width; i++)
      for (int l = 0; l < REF_LANES; l++) {
        const ptrdiff_t o = (c * height * width + i) * REF_LANES + l;
        double value = out[(i / width + pad) * side + i % width + pad][l] + (k->BACK ? 0 : (double)bias[c]);
        if (k->RELU) value = ref_relu(value);
        if (k->MASK && !(x[o] > 0)) value = 0;
        y[o] = (ref_real)(k->ADD ? (double)y[o] + value : value);
      }
  }
}

/* points[T*T] = sum over the images of dm[oc] vt[ic]. */
static void gradient_points(const ref_call *call, ptrdiff_t oc, ptrdiff_t ic, double *points) {
  const duet_constants *k = call->k;
  const int T = k->WINOGRAD + 2;
  for (int i = 0; i < T * T; i++) {
    points[i] = 0;
    for (int b = 0; b < k->BLOCKS; b++) {
      const ref_real *vt = (const ref_real *)ref_at(call, 0, b);
      const ref_real *dm = (const ref_real *)ref_at(call, 1, b) + ((ptrdiff_t)i * k->OC + oc) * REF_LANES;
      for (ptrdiff_t l = 0; l < REF_LANES; l++) points[i] += (double)vt[turned_at(k->IC, i, ic, l)] * (double)dm[l];
    }
  }
}

void REF_TWIN(winograd_gradient)(const ref_call *call) {
  const duet_constants *k = call->k;
  const int T = k->WINOGRAD + 2, pixels = k->OH * k->OW;
  const matrix g = {matrix_g[k->WINOGRAD - 2], 3, T, true};
  const ptrdiff_t begin = (ptrdiff_t)call->index * k->ROWS, end = begin + k->ROWS < k->OC ? begin + k->ROWS : k->OC;
  ref_real *dw = call->operand[4], *dbias = call->operand[5];
  for (ptrdiff_t oc = begin; oc < end; oc++) {
    for (ptrdiff_t ic = 0; ic < k->IC; ic++) {
      double points[MOST * MOST] = {0}, taps[9];
      gradient_points(call, oc, ic, points);
      sandwich(&g, points, taps, 1);
      for (int i = 0; i < 9; i++) dw[(oc * k->IC + ic) * 9 + i] = (ref_real)taps[i];
    }
    double sum = 0;
    for (int b = 0; b < k->BLOCKS; b++) {
      const ref_real *dy = (const ref_real *)ref_at(call, 2, b) + oc * pixels * REF_LANES;
      for (ptrdiff_t i = 0; i < (ptrdiff_t)pixels * REF_LANES; i++) sum += (double)dy[i];
    }
    dbias[oc] = (ref_real)sum;
  }
}

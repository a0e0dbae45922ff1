/* Twins of the stages of Winograd's algorithm, with the matrices of the kernels. */
#include "backends/ref/ref.h"
#include "kernels/winograd_matrices.h"

#include <string.h>

enum { MOST = 7 }; /* points of one dimension, M + 2 */

/* For M from 2: A [M][T], G [T][3], B [T][T]. */
#define Q(n, d) ((double)(n) / (d))
static const double matrix_a2[] = WINOGRAD_A2, matrix_a3[] = WINOGRAD_A3, matrix_a4[] = WINOGRAD_A4,
                    matrix_a5[] = WINOGRAD_A5;
static const double matrix_g2[] = WINOGRAD_G2, matrix_g3[] = WINOGRAD_G3, matrix_g4[] = WINOGRAD_G4,
                    matrix_g5[] = WINOGRAD_G5;
static const double matrix_b2[] = WINOGRAD_B2, matrix_b3[] = WINOGRAD_B3, matrix_b4[] = WINOGRAD_B4,
                    matrix_b5[] = WINOGRAD_B5;
static const double *const matrix_a[] = {matrix_a2, matrix_a3, matrix_a4, matrix_a5},
                           *const matrix_g[] = {matrix_g2, matrix_g3, matrix_g4, matrix_g5},
                           *const matrix_b[] = {matrix_b2, matrix_b3, matrix_b4, matrix_b5};

/* A matrix by rows, or its transpose. */
typedef struct matrix {
  const double *values; /* [rows][columns], or [columns][rows] when turned */
  int rows, columns;
  bool turned;
} matrix;

static double at(const matrix *m, int row, int column) {
  return m->turned ? m->values[column * m->rows + row] : m->values[row * m->columns + column];
}

/* out[rows][rows] = m in[columns][columns] m' */
static void sandwich(const matrix *m, const double *in, double *out) {
  double half[MOST * MOST] = {0};
  for (int r = 0; r < m->rows; r++)
    for (int c = 0; c < m->columns; c++) {
      half[r * m->columns + c] = 0;
      for (int k = 0; k < m->columns; k++) half[r * m->columns + c] += at(m, r, k) * in[k * m->columns + c];
    }
  for (int r = 0; r < m->rows; r++)
    for (int c = 0; c < m->rows; c++) {
      out[r * m->rows + c] = 0;
      for (int k = 0; k < m->columns; k++) out[r * m->rows + c] += half[r * m->columns + k] * at(m, c, k);
    }
}

void REF_TWIN(winograd_weights)(const ref_call *call) {
  const int T = call->k->WINOGRAD + 2;
  const ptrdiff_t ic = call->k->IC, oc = call->k->OC, o = (ptrdiff_t)call->index;
  const matrix g = {matrix_g[T - 4], T, 3, false};
  const ref_real *w = call->operand[0];
  ref_real *u = call->operand[1];
  for (ptrdiff_t c = 0; c < ic; c++) {
    double taps[9] = {0}, points[MOST * MOST];
    for (int i = 0; i < 9; i++) taps[i] = (double)w[(o * ic + c) * 9 + (call->k->BACK ? 8 - i : i)];
    sandwich(&g, taps, points);
    for (int i = 0; i < T * T; i++) u[(i * oc + o) * ic + c] = (ref_real)points[i];
  }
}

/* out[M*M] = one tile of image `l`, whose patch begins at (top, left). */
static void tile(const ref_winograd *w, int top, int left, int l, double *out) {
  const int T = w->M + 2;
  const matrix a = {matrix_a[w->M - 2], w->M, T, false}, b = {matrix_b[w->M - 2], T, T, false};
  double sum[MOST * MOST] = {0}, d[MOST * MOST], points[MOST * MOST];
  for (ptrdiff_t c = 0; c < w->channels; c++) {
    for (int i = 0; i < T * T; i++) {
      const int row = top + i / T, column = left + i % T;
      const bool inside = row >= 0 && row < w->height && column >= 0 && column < w->width;
      d[i] = inside ? (double)w->x[((c * w->height + row) * w->width + column) * REF_LANES + l] : 0;
    }
    sandwich(&b, d, points);
    for (int i = 0; i < T * T; i++) sum[i] += (double)w->u[i * w->points + c * w->step] * points[i];
  }
  sandwich(&a, sum, out);
}

void ref_winograd_row(ref_winograd *w, int row, double out[][REF_LANES]) {
  const int M = w->M, band = row / M;
  for (int column = 0; band != w->band && column < w->columns; column += M)
    for (int l = 0; l < REF_LANES; l++) {
      double results[MOST * MOST];
      tile(w, band * M - w->pad, column - w->pad, l, results);
      for (int i = 0; i < M * M; i++)
        if (column + i % M < w->columns) w->rows[i / M][column + i % M][l] = results[i];
    }
  w->band = band;
  memcpy(out, w->rows[row % M], sizeof *out * (size_t)w->columns);
}

/* Where point `i` of channel `c` of image `l` is in vt[T*T][channels/16][16 images][16]. */
static ptrdiff_t turned_at(ptrdiff_t channels, ptrdiff_t i, ptrdiff_t c, ptrdiff_t l) {
  return ((i * (channels / REF_LANES) + c / REF_LANES) * REF_LANES + l) * REF_LANES + c % REF_LANES;
}

void REF_TWIN(winograd_to_points)(const ref_call *call) {
  const duet_constants *k = call->k;
  const int M = k->WINOGRAD, T = M + 2, side = k->BACK ? M : T, pad = k->BACK ? 0 : k->PAD;
  const int channels = k->BACK ? k->OC : k->IC, height = k->BACK ? k->OH : k->IH, width = k->BACK ? k->OW : k->IW;
  const matrix m = k->BACK ? (matrix){matrix_a[M - 2], T, M, true} : (matrix){matrix_b[M - 2], T, T, false};
  const ref_real *x = call->operand[0];
  ref_real *v = call->operand[1], *vt = k->TRAIN && !k->BACK ? call->operand[2] : NULL;
  for (ptrdiff_t c = 0; c < channels; c++)
    for (ptrdiff_t l = 0; l < REF_LANES; l++) {
      double d[MOST * MOST] = {0}, points[MOST * MOST];
      for (int i = 0; i < side * side; i++) {
        const int row = i / side - pad, column = i % side - pad;
        const bool inside = row >= 0 && row < height && column >= 0 && column < width;
        d[i] = inside ? (double)x[((c * height + row) * width + column) * REF_LANES + l] : 0;
      }
      sandwich(&m, d, points);
      for (int i = 0; i < T * T; i++) {
        v[(i * channels + c) * REF_LANES + l] = (ref_real)points[i];
        if (vt) vt[turned_at(channels, i, c, l)] = (ref_real)points[i];
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

void REF_TWIN(winograd_from_points)(const ref_call *call) {
  const duet_constants *k = call->k;
  const int M = k->WINOGRAD, T = M + 2, side = k->BACK ? T : M, pad = k->BACK ? k->PAD : 0;
  const int channels = k->BACK ? k->IC : k->OC, height = k->BACK ? k->IH : k->OH, width = k->BACK ? k->IW : k->OW;
  const matrix turn = k->BACK ? (matrix){matrix_b[M - 2], T, T, true} : (matrix){matrix_a[M - 2], M, T, false};
  const ref_real *m = call->operand[0], *bias = call->operand[1], *x = call->operand[2];
  ref_real *y = call->operand[3];
  for (ptrdiff_t c = 0; c < channels; c++)
    for (ptrdiff_t l = 0; l < REF_LANES; l++) {
      double points[MOST * MOST] = {0}, out[MOST * MOST];
      for (int i = 0; i < T * T; i++) points[i] = (double)m[(i * channels + c) * REF_LANES + l];
      sandwich(&turn, points, out);
      for (int i = 0; i < height * width; i++) {
        const ptrdiff_t o = (c * height * width + i) * REF_LANES + l;
        double value = out[(i / width + pad) * side + i % width + pad] + (k->BACK ? 0 : (double)bias[c]);
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
      sandwich(&g, points, taps);
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

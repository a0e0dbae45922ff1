/* For the tests of scripts/kernel-report: more sums than an item of a group as large as this has registers. */
__kernel __attribute__((reqd_work_group_size(1024, 1, 1))) void spills(__global float *x, int n) {
  float a[150];
  _Pragma("unroll") for (int i = 0; i < 150; i++) a[i] = x[i * n + get_local_id(0)];
  for (int j = 0; j < n; j++)
    _Pragma("unroll") for (int i = 0; i < 150; i++) a[i] += x[i * j] * a[(i + 1) % 150];
  _Pragma("unroll") for (int i = 0; i < 150; i++) x[i * n + get_local_id(0)] = a[149 - i];
}

/* A work-item's own stack, entered and left. By hand on x86-64: ucontext asks the kernel for signal masks each time. */
#ifndef FAKECUDA_FIBER_H
#define FAKECUDA_FIBER_H

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)

extern "C" void fakecuda_switch(void **save, void *load);
asm(R"(
.pushsection .text
.weak fakecuda_switch
.hidden fakecuda_switch
.type fakecuda_switch, @function
fakecuda_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size fakecuda_switch, . - fakecuda_switch
.popsection
)");

namespace fakecuda {

class fiber {
 public:
  /* Makes ready to run `function`, which must not return, on a stack. */
  void start(char *stack, size_t size, void (*function)()) {
    constexpr size_t registers = 6; /* zeroed; then where to go, and nowhere to return to */
    void **top = (void **)(stack + size) - (registers + 2);
    for (size_t i = 0; i < registers; i++) top[i] = nullptr;
    top[registers] = (void *)function;
    top[registers + 1] = nullptr;
    inside_ = top;
  }
  void enter() { fakecuda_switch(&outside_, inside_); }
  void leave() { fakecuda_switch(&inside_, outside_); }

 private:
  void *inside_, *outside_;
};

}  // namespace fakecuda

#else

#include <ucontext.h>

namespace fakecuda {

class fiber {
 public:
  void start(char *stack, size_t size, void (*function)()) {
    (void)getcontext(&inside_);
    inside_.uc_stack.ss_sp = stack;
    inside_.uc_stack.ss_size = size;
    inside_.uc_link = nullptr;
    makecontext(&inside_, function, 0);
  }
  void enter() { (void)swapcontext(&outside_, &inside_); }
  void leave() { (void)swapcontext(&inside_, &outside_); }

 private:
  ucontext_t inside_, outside_;
};

}  // namespace fakecuda

#endif
#endif

/* NVRTC: CUDA C++ compiled by g++ into a shared object (module.h). The text is preprocessed, every __global__ function
   found in it is listed behind it as an entry point, and that is compiled. Words of the compiler are the log. */
#include "fakecuda.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <nvrtc.h>
#include <regex>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct _nvrtcProgram {
  std::string text, name, log, image;
};

namespace {

using fakecuda::setting;

fakecuda::registry<_nvrtcProgram> programs("program");

const int architectures[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};

using words = std::vector<std::string>;

std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string &path, const std::string &content) {
  std::ofstream(path, std::ios::binary) << content;
}

/* A folder for one compilation, removed with what is in it. */
class scratch_folder {
 public:
  scratch_folder() : path_(std::string(setting("TMPDIR", "/tmp")) + "/fakecuda-nvrtc-XXXXXX") {
    good_ = mkdtemp(path_.data()) != nullptr;
  }
  ~scratch_folder() {
    for (const std::string &file : files_) unlink(file.c_str());
    rmdir(path_.c_str());
  }
  std::string file(const std::string &name) { return files_.emplace_back(path_ + "/" + name); }
  bool good() const { return good_; }

 private:
  std::string path_;
  words files_;
  bool good_;
};

/* True when the program ends well; what it says goes to `says`. */
bool spawn(const words &command, const std::string &says) {
  std::vector<char *> argv;
  for (const std::string &word : command) argv.push_back((char *)word.c_str());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, says.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  pid_t child;
  int status = -1;
  const bool started = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  return started && waitpid(child, &status, 0) == child && status == 0;
}

/* What options become for g++, and the architecture they name. False: an option that NVRTC, or this stand-in, has not.
 */
bool read_options(int count, const char *const *options, words *out, int *architecture) {
  for (int i = 0; i < count; i++) {
    const char *o = options[i];
    int value = 0, length = 0;
    if (sscanf(o, "--gpu-architecture=sm_%d%n", &value, &length) == 1 && !o[length]) {
      *architecture = 0;
      for (int known : architectures)
        if (known == value) *architecture = value;
      if (!*architecture) return false;
      out->push_back("-D__CUDA_ARCH__=" + std::to_string(10 * value));
    } else if (!strncmp(o, "-D", 2) || !strncmp(o, "-I", 2)) {
      out->push_back(o);
    } else if (strncmp(o, "--std=c++", 9) != 0) {
      static const char *const without_effect[] = {"--fmad=false",      "--fmad=true",        "--prec-div=false",
                                                   "--prec-sqrt=false", "--ptxas-options=-v", "--minimal"};
      bool known = false;
      for (const char *name : without_effect) known = known || !strcmp(o, name);
      if (!known) return false;
    }
  }
  return true;
}

/* The end of what begins at text[at] with a bracket or a quote. */
size_t skip(const std::string &text, size_t at) {
  const char open = text[at], close = open == '(' ? ')' : open == '[' ? ']' : open == '{' ? '}' : '"';
  for (at++; at < text.size() && text[at] != close; at++)
    if (open == '"' && text[at] == '\\')
      at++;
    else if (open != '"' && strchr("([{\"", text[at]))
      at = skip(text, at) - 1;
  return at + 1;
}

/* Splits at a letter outside of brackets and quotes. */
words split(const std::string &text, char separator) {
  words parts = {""};
  for (size_t at = 0; at < text.size();) {
    if (text[at] == separator) {
      parts.emplace_back();
      at++;
      continue;
    }
    const size_t end = strchr("([{\"", text[at]) ? skip(text, at) : at + 1;
    parts.back() += text.substr(at, end - at);
    at = end;
  }
  return parts;
}

/* asm ("text" : outputs : inputs : clobbers) becomes a call with the operands by their numbers (device.h). */
void translate_assembly(std::string *text) {
  static const std::regex form(R"(\basm\s*(?:volatile\s*)?\()");
  for (std::smatch m; std::regex_search(*text, m, form);) {
    const size_t from = (size_t)m.position(), open = from + (size_t)m.length() - 1, end = skip(*text, open);
    const words parts = split(text->substr(open + 1, end - open - 2), ':');
    std::string call = "fakecuda_assembly(__builtin_LINE(), " + parts[0];
    for (size_t p = 1; p < parts.size() && p < 3; p++)
      for (const std::string &operand : split(parts[p], ',')) {
        const size_t bracket = operand.find('(');
        if (bracket == std::string::npos) continue;
        call += ", fakecuda_bind(" + operand.substr(0, bracket) + "," + operand.substr(bracket) + ")";
      }
    text->replace(from, end - from, call + ")");
  }
}

/* Where traffic is counted: a copy of the text for whoever looks up lines, and loops unrolled as NVRTC does, so that
   what is loaded twice is loaded once. */
std::string kept_text(const std::string &text) {
  static unsigned texts;
  const std::string path = std::string(fakecuda::traffic_folder()) + "/" + std::to_string(texts++) + ".cu";
  write_file(path, text);
  return path;
}

void unroll(std::string *text) {
  *text = std::regex_replace(*text, std::regex(R"(#pragma unroll *\n)"), "#pragma GCC unroll 65534\n");
  *text = std::regex_replace(*text, std::regex(R"(#pragma unroll (\d+))"), "#pragma GCC unroll $1");
}

/* Takes __global__ and __launch_bounds__(N) out of the text and returns the entry points as a table in C++. */
std::string take_entries(std::string *text) {
  static const std::regex form(R"(__global__\s+(?:__launch_bounds__\s*\(([^,)]*)[^)]*\)\s*)?void\s+(\w+)\s*\()");
  std::string table, rest;
  std::set<std::string> names;
  auto from = text->cbegin();
  for (std::smatch m; std::regex_search(from, text->cend(), m, form); from = m.suffix().first) {
    rest.append(m.prefix()).append("void ").append(m[2]).append("(");
    if (!names.insert(m[2]).second) continue;
    const std::string name = m[2], bounds = m[1].matched ? m[1].str() : "1024";
    table += "{\"" + name + "\", fakecuda_caller<" + name + ", decltype(" + name + ")>::call, fakecuda_caller<" + name +
             ", decltype(" + name + ")>::sizes, fakecuda_caller<" + name + ", decltype(" + name + ")>::parameters, " +
             bounds + "},\n";
  }
  *text = rest.append(from, text->cend());
  return "static const fakecuda_entry fakecuda_entries[] = {\n" + table + "{0, 0, 0, 0, 0}};\n";
}

/* What stands behind the text: the table of entries and the module. */
std::string module_text(const std::string &entries, int architecture, bool checked) {
  return "\n# 1 \"fakecuda\"\n" + entries +
         "extern \"C\" __attribute__((weak, visibility(\"hidden\"))) char __start_fakecuda_shared[], "
         "__stop_fakecuda_shared[];\n"
         "fakecuda_module fakecuda = {" +
         std::to_string(architecture) + ", " + (checked ? "true" : "false") +
         ", __start_fakecuda_shared, __stop_fakecuda_shared, fakecuda_entries, {}, {}};\n";
}

/* Little optimised, and loops as they are (g++ does not know `#pragma unroll`), since compiling takes most of the time.
   With checks, no vector is taken apart, which would hide where it is read. No contraction and no shortcuts in
   arithmetic; types may be punned as on a device. The sanitizer's calls are device.h's own. */
words compiler_flags(bool checked) {
  words flags = {
      "-O1",      "-fPIC", "-w", "-ffp-contract=off", "-fno-strict-aliasing", "-fno-math-errno", "-fno-exceptions",
      "-fno-rtti"};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2")) flags.insert(flags.end(), {"-mfma", "-mavx2"});
#endif
  if (checked)
    flags.insert(flags.end(), {"-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0", "-fno-tree-vectorize",
                               "-fno-tree-loop-distribute-patterns", "-fno-tree-sra"});
  if (fakecuda::traffic_folder()) flags.insert(flags.end(), {"-O2", "-g1"});
  return flags;
}

nvrtcResult compile(_nvrtcProgram *p, const words &options, int architecture) {
  scratch_folder folder;
  if (!folder.good()) return NVRTC_ERROR_OUT_OF_MEMORY;
  const bool checked = fakecuda::watches_accesses();
  const std::string source = folder.file("text.cu"), expanded = folder.file("text.ii"), image = folder.file("text.so"),
                    says = folder.file("log");
  const std::string name = fakecuda::traffic_folder() ? kept_text(p->text) : p->name;
  write_file(source, "# 1 \"" + name + "\"\n" + p->text);
  words command = {FAKECUDA_COMPILER, "-std=c++17",           "-E",   "-x", "c++",
                   "-include",        FAKECUDA_DEVICE_HEADER, source, "-o", expanded};
  command.insert(command.end(), options.begin(), options.end());
  bool good = spawn(command, says);
  if (good) {
    std::string text = read_file(expanded);
    translate_assembly(&text);
    if (fakecuda::traffic_folder()) unroll(&text);
    const std::string entries = take_entries(&text);
    write_file(expanded, text + module_text(entries, architecture, checked));
    command = {FAKECUDA_COMPILER, "-std=c++17", "-x", "c++-cpp-output", expanded, "-shared", "-nostdlib", "-o", image};
    const words flags = compiler_flags(checked);
    command.insert(command.end(), flags.begin(), flags.end());
    command.insert(command.end(), {"-x", "none", "-lm"});
    good = spawn(command, says);
  }
  p->log = read_file(says);
  p->image = good ? read_file(image) : "";
  return good ? NVRTC_SUCCESS : NVRTC_ERROR_COMPILATION;
}

#define NVRTC_BEGIN \
  if (const int code = fakecuda::due(__func__)) return (nvrtcResult)code

}  // namespace

extern "C" {

const char *nvrtcGetErrorString(nvrtcResult) { return "an error of fakecuda (CPU stand-in, not NVRTC)"; }

nvrtcResult nvrtcVersion(int *major, int *minor) {
  NVRTC_BEGIN;
  *major = CUDART_VERSION / 1000;
  *minor = CUDART_VERSION % 1000 / 10;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetNumSupportedArchs(int *count) {
  NVRTC_BEGIN;
  *count = (int)std::size(architectures);
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetSupportedArchs(int *out) {
  NVRTC_BEGIN;
  std::copy(std::begin(architectures), std::end(architectures), out);
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcCreateProgram(nvrtcProgram *program, const char *text, const char *name, int headers,
                               const char *const *, const char *const *) {
  NVRTC_BEGIN;
  if (!program || !text || headers) return NVRTC_ERROR_INVALID_INPUT;
  *program = programs.add(new _nvrtcProgram{text, name ? name : "default_program", "", ""});
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcDestroyProgram(nvrtcProgram *program) {
  const int planned = fakecuda::due(__func__);
  if (!program || !programs.remove(*program)) return NVRTC_ERROR_INVALID_PROGRAM;
  *program = nullptr;
  return (nvrtcResult)planned;
}

nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int count, const char *const *options) {
  NVRTC_BEGIN;
  if (!programs.has(program)) return NVRTC_ERROR_INVALID_PROGRAM;
  words flags;
  int architecture = architectures[0];
  if (!read_options(count, options, &flags, &architecture)) return NVRTC_ERROR_INVALID_OPTION;
  return compile(program, flags, architecture);
}

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram program, size_t *bytes) {
  NVRTC_BEGIN;
  if (!programs.has(program)) return NVRTC_ERROR_INVALID_PROGRAM;
  *bytes = program->log.size() + 1;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetProgramLog(nvrtcProgram program, char *log) {
  NVRTC_BEGIN;
  if (!programs.has(program)) return NVRTC_ERROR_INVALID_PROGRAM;
  memcpy(log, program->log.c_str(), program->log.size() + 1);
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, size_t *bytes) {
  NVRTC_BEGIN;
  if (!programs.has(program) || program->image.empty()) return NVRTC_ERROR_INVALID_PROGRAM;
  *bytes = program->image.size();
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char *image) {
  NVRTC_BEGIN;
  if (!programs.has(program) || program->image.empty()) return NVRTC_ERROR_INVALID_PROGRAM;
  memcpy(image, program->image.data(), program->image.size());
  return NVRTC_SUCCESS;
}

/* There is none; the calls must be there for who looks them up. */
nvrtcResult nvrtcGetPTXSize(nvrtcProgram, size_t *) { return NVRTC_ERROR_INVALID_PROGRAM; }
nvrtcResult nvrtcGetPTX(nvrtcProgram, char *) { return NVRTC_ERROR_INVALID_PROGRAM; }

}  // extern "C"

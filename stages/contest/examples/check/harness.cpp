// Runs C++ programs on their tests: each program is a function of the table `programs`
// (written by main.rs above this text), each run a child process.
// argv[1]: a file with, per program: number of tests, then per test "length\nbytes" twice.
// stdout, per program: verdict, number of the first failing test, length of the printed
// text, the printed text.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static string slurp(int fd) {
    string text;
    char block[4096];
    lseek(fd, 0, SEEK_SET);
    for (ssize_t got; (got = read(fd, block, sizeof block)) > 0;) text.append(block, got);
    return text;
}

static vector<string> tokens(const string &text) {
    istringstream stream(text);
    vector<string> all;
    for (string word; stream >> word;) all.push_back(word);
    return all;
}

int main(int, char **argv) {
    // In memory: a child that exits would move the offset of a file they share.
    stringstream jobs;
    jobs << ifstream(argv[1], ios::binary).rdbuf();
    auto take = [&] {
        size_t length = 0;
        if (!(jobs >> length)) abort();
        jobs.get();
        string text(length, ' ');
        if (!jobs.read(&text[0], length)) abort();
        return text;
    };
    for (auto program : programs) {
        int tests, limit_s;
        if (!(jobs >> tests >> limit_s)) abort();
        string verdict = "Accepted", printed;
        int failing = 0;
        for (int number = 0; number < tests; number++) {
            string input = take(), output = take();
            if (verdict != "Accepted") continue;
            FILE *in = tmpfile(), *out = tmpfile();
            fwrite(input.data(), 1, input.size(), in);
            fflush(in);
            lseek(fileno(in), 0, SEEK_SET);
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) {
                rlimit limit{(rlim_t)limit_s, (rlim_t)limit_s};
                setrlimit(RLIMIT_CPU, &limit);
                dup2(fileno(in), 0);
                dup2(fileno(out), 1);
                freopen("/dev/null", "w", stderr);
                exit(program());
            }
            int status = 0;
            waitpid(child, &status, 0);
            printed = slurp(fileno(out));
            if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
                verdict = "TimeLimit";
            else if (status != 0) verdict = "RuntimeError";
            else if (tokens(printed) != tokens(output)) verdict = "WrongAnswer";
            if (verdict != "Accepted") failing = number;
            fclose(in);
            fclose(out);
        }
        printed.resize(min<size_t>(printed.size(), 400));
        for (char &letter : printed)
            if (letter != '\n' && (letter < ' ' || letter > '~')) letter = '?';
        printf("%s %d %zu %s\n", verdict.c_str(), failing, printed.size(), printed.c_str());
    }
}

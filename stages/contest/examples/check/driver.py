# Runs Python programs on their tests, all in one process, within a limit of CPU time.
# stdin: a JSON list of {"source", "limit_s", "tests": [[input, output], ...]}
# stdout: a JSON list of [verdict, number of the first failing test, what it printed]
import io
import json
import signal
import sys

jobs = json.load(sys.stdin)
real = sys.stdout


class Late(BaseException):
    pass


def ring(*_):
    raise Late


signal.signal(signal.SIGVTALRM, ring)


def run(code, text, limit_s):
    sys.stdin, sys.stdout = io.StringIO(text), io.StringIO()
    verdict, printed = "Accepted", ""
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
        exec(code, {"__name__": "__main__"})
    except Late:
        verdict = "TimeLimit"
    except SystemExit:
        pass
    except BaseException as error:
        verdict, printed = "RuntimeError", repr(error)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        printed = printed or sys.stdout.getvalue()
        sys.stdin, sys.stdout = None, real
    return verdict, printed


results = []
for job in jobs:
    result = ["Accepted", 0, ""]
    try:
        code = compile(job["source"], "program", "exec")
    except SyntaxError as error:
        results.append(["DoesNotCompile", 0, repr(error)])
        continue
    for number, (text, output) in enumerate(job["tests"]):
        verdict, printed = run(code, text, job["limit_s"])
        if verdict == "Accepted" and printed.split() != output.split():
            verdict = "WrongAnswer"
        if verdict != "Accepted":
            result = [verdict, number, printed[:400]]
            break
    results.append(result)
json.dump(results, real)

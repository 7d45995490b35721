"""What is measured, and how each is made to run so many workers."""

import os
import shutil
import signal
import subprocess


class Shape:
    """So many workers, in one supervisor or spread over nodes."""

    def __init__(self, workers, nodes=1):
        self.workers, self.nodes = workers, nodes

    def __str__(self):
        workers = f"{self.workers:,} worker" + ("s" if self.workers > 1 else "")
        return workers if self.nodes == 1 else f"{workers} in {self.nodes} nodes"


def clean_environment(**more):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TREEVISOR_")}
    return {**environment, **more}


class Contestant:
    stop_signal = signal.SIGTERM

    def __init__(self, name, note):
        self.name, self.note = name, note

    def can(self, shape):
        return True


class Floor(Contestant):
    def __init__(self, name, note, program, duties):
        super().__init__(name, note)
        self.program, self.duties = program, duties

    def prepare(self, folder, shape, worker, **_):
        floor = [self.program] + (["-d"] if self.duties else [])
        if shape.nodes == 1:
            command = floor + [str(shape.workers), worker]
        else:
            command = floor + [str(shape.nodes)] + floor + [str(shape.workers // shape.nodes), worker]
        return command, clean_environment()


class Treevisor(Contestant):
    def __init__(self, name, note, program, containment, log):
        super().__init__(name, note)
        self.program, self.containment, self.log = program, containment, log

    def prepare(self, folder, shape, worker, heartbeat=None, beside=None):
        def child(prefix, name, count, worker=worker):
            lines = [f"[[{prefix}]]", f'name = "{name}"', f'command = ["{worker}"]', f"count = {count}"]
            if heartbeat:
                interval, misses, source = heartbeat
                lines.append(f'heartbeat = {{ interval = "{interval}ms", misses = {misses}, source = "{source}" }}')
            if not self.log:
                lines.append("log = false")
            return lines

        # Kill loops are not to escalate; all else is as by default.
        text = ['name = "bench"', f'containment = "{self.containment}"', 'intensity = "unlimited"']
        if shape.nodes == 1:
            text += child("child", "w", shape.workers)
            if beside:
                text += child("child", "beside", 1, beside)
        else:
            for node in range(shape.nodes):
                text += ["[[child]]", f'name = "n{node}"', 'intensity = "unlimited"']
                text += child("child.child", "w", shape.workers // shape.nodes)
        path = os.path.join(folder, "bench.toml")
        with open(path, "w") as file:
            file.write("\n".join(text) + "\n")
        runtime = os.path.join(folder, "r")
        return [self.program, "start", path], clean_environment(TREEVISOR_RUNTIME_DIR=runtime, TREEVISOR_STATE_DIR=runtime + "-state")


def service_folders(folder, shape, worker):
    scanned = os.path.join(folder, "services")
    os.mkdir(scanned)
    for number in range(shape.workers):
        os.mkdir(os.path.join(scanned, f"w{number}"))
        # The worker itself is the `run` file: no shell in between.
        os.symlink(worker, os.path.join(scanned, f"w{number}", "run"))
    return scanned


class S6(Contestant):
    def can(self, shape):
        return shape.nodes == 1

    def prepare(self, folder, shape, worker, **_):
        return [shutil.which("s6-svscan"), "-c", "1200", service_folders(folder, shape, worker)], clean_environment()


class Runit(Contestant):
    # HUP: end all services and go. With TERM runsvdir leaves them running.
    stop_signal = signal.SIGHUP

    def can(self, shape):
        return shape.nodes == 1

    def prepare(self, folder, shape, worker, **_):
        return [shutil.which("runsvdir"), "-P", service_folders(folder, shape, worker)], clean_environment()


def cgroups_can_be_written(program, folder):
    """Whether treevisor says so itself."""
    os.mkdir(folder)
    path = os.path.join(folder, "try.toml")
    with open(path, "w") as file:
        file.write('name = "try"\ncontainment = "cgroup"\nauto-shutdown = "any-significant"\n'
                   '[[child]]\nname = "t"\ncommand = ["true"]\nrestart = "transient"\nsignificant = true\n')
    ended = subprocess.run([program, "start", path], env=clean_environment(TREEVISOR_RUNTIME_DIR=os.path.join(folder, "r"), TREEVISOR_STATE_DIR=os.path.join(folder, "s")),
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)
    return ended.returncode == 0


def version(command):
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return (ended.stdout + ended.stderr).strip().splitlines()[0]
    except (OSError, IndexError):
        return ""


def gather(builds, tools, folder):
    """All contestants that can run here, and notes on those that cannot."""
    found = [
        Floor("floor", "a C loop on this kernel: clone(VM|VFORK|PIDFD), epoll, waitid; nothing else", tools["floor"], False),
        Floor("floor+duties", "the same, and for each child: session, signals, descriptors, output pipe, parent-death signal",
              tools["floor"], True),
    ]
    missing = []
    for name, path in builds:
        what = version([path, "--version"])
        found.append(Treevisor(f"{name} group", f"{what}, containment by process group and mark, output captured", path, "group", True))
        if cgroups_can_be_written(path, os.path.join(folder, f"try-{name}")):
            found.append(Treevisor(f"{name} cgroup", f"{what}, containment by cgroup v2, output captured", path, "cgroup", True))
        else:
            missing.append(f"{name} cgroup: no cgroup v2 that may be written here")
        found.append(Treevisor(f"{name} group, log=false", f"{what}, as group, but the output goes to /dev/null", path, "group", False))
    if shutil.which("s6-svscan"):
        found.append(S6("s6", f"s6-svscan, a supervisor process for each worker, restarts a second after a death; {package('s6')}"))
    else:
        missing.append("s6: not installed: apt-get install s6")
    if shutil.which("runsvdir"):
        found.append(Runit("runit", f"runsvdir, a supervisor process for each worker, looks for services a second after its start; {package('runit')}"))
    else:
        missing.append("runit: not installed: apt-get install runit")
    return found, missing


def package(name):
    return version(["dpkg-query", "-W", "-f", "${Package} ${Version}", name]) or "version unknown"

//! Builds libzmq 4.3.5 from the sources inside `zeromq-src`, or finds the system's.
//!
//! What `zeromq-src` builds by itself has an empty `platform.hpp` and so lacks what a supervisor needs (the crate's
//! README lists it). Therefore only its sources are used. They are laid out in `OUT_DIR`, edited in the places listed
//! in [`EDITS`], given a `platform.hpp` that lists what Linux can do, and compiled as few large translation units:
//! parsing the C++ headers is nearly all the work, so 4 units take a quarter of the time of 110.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set to 1 to link the system's libzmq, found by pkg-config, in place of the one built here.
const SYSTEM: &str = "ZMQ_SYS_SYSTEM";
/// Set for this script's own child process, whose one task is to lay out the sources.
const LAY_OUT: &str = "ZMQ_SYS_LAY_OUT";
/// How many translation units libzmq is compiled as: enough to use a few cores, few enough to share the headers.
const UNITS: usize = 4;

/// Source files left out: transports that are off in this build (WebSocket, NORM, PGM, VMCI), Kerberos, and the
/// empty file that exists for precompiled headers.
const LEFT_OUT: [&str; 7] = ["gssapi_", "norm_", "pgm_", "precompiled", "vmci", "ws_", "wss_"];

/// What Linux offers, as libzmq's own configure step would find it.
const PLATFORM: [(&str, &str); 7] = [
    (
        "the system and its transports",
        "ZMQ_HAVE_LINUX ZMQ_HAVE_IPC ZMQ_HAVE_STRUCT_SOCKADDR_UN ZMQ_HAVE_UIO HAVE_MKDTEMP",
    ),
    ("the ids of a peer, from the kernel", "ZMQ_HAVE_SO_PEERCRED"),
    (
        "no descriptor of libzmq survives an exec",
        "ZMQ_HAVE_SOCK_CLOEXEC HAVE_ACCEPT4 ZMQ_HAVE_O_CLOEXEC ZMQ_HAVE_EVENTFD_CLOEXEC \
         ZMQ_IOTHREAD_POLLER_USE_EPOLL_CLOEXEC",
    ),
    (
        "epoll in the I/O thread; one eventfd in place of a pair of sockets for each mailbox",
        "ZMQ_IOTHREAD_POLLER_USE_EPOLL ZMQ_POLL_BASED_ON_POLL ZMQ_HAVE_EVENTFD",
    ),
    ("timers that do not follow the wall clock", "HAVE_CLOCK_GETTIME"),
    ("threads", "ZMQ_USE_CV_IMPL_STL11 ZMQ_HAVE_PTHREAD_SETNAME_2"),
    ("the C library, and how libzmq is linked", "HAVE_STRNLEN ZMQ_STATIC"),
];

/// An edit of libzmq's sources: in `file`, `from` stands exactly once and becomes `to`.
struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

/// In a decoder: the limit of a part becomes variable, and what exceeds it is reported to the gate.
const LIMIT: &str = "    msg_t *msg () { return &_in_progress; }

    void limit (int gate_, int64_t bytes_) ZMQ_OVERRIDE
    {
        _gate = gate_;
        _max_msg_size = bytes_;
    }";
const LIMITED: &str = "    int64_t _max_msg_size;\n    int _gate = 0;";

/// In a listener: descriptors of the reserve are not given to connections.
const ACCEPTED: &str = "    make_socket_noninheritable (sock);";
const WITHOUT_RESERVE: &str = "    if (gate::is_of_reserve (sock)) {
        const int rc = ::close (sock);
        errno_assert (rc == 0);
        errno = EMFILE;
        return retired_fd;
    }

    make_socket_noninheritable (sock);";

const EDITS: [Edit; 28] = [
    // libzmq aborts the process when accept() on an ipc socket fails for a reason that is not in this list. For tcp the
    // list has "no more descriptors" and "no more memory"; for ipc both are missing, so that any process that may
    // connect could end the supervisor by connecting often. With them the connection waits until there is room, and the
    // I/O thread rests (gate.hpp).
    Edit {
        file: "ipc_listener.cpp",
        from: "|| errno == ENFILE);",
        to: "|| errno == ENFILE || errno == EMFILE
                      || errno == ENOBUFS || errno == ENOMEM);
        gate::rest_if_full ();",
    },
    Edit {
        file: "tcp_listener.cpp",
        from: "|| errno == ENFILE);",
        to: "|| errno == ENFILE);
        gate::rest_if_full ();",
    },
    // A process that may connect could take all descriptors of the process, and then a supervisor could not start the
    // very children that would set things right.
    Edit { file: "ipc_listener.cpp", from: ACCEPTED, to: WITHOUT_RESERVE },
    Edit { file: "tcp_listener.cpp", from: ACCEPTED, to: WITHOUT_RESERVE },
    // The program decides which peers may connect (gate.hpp): libzmq's own filter of users is fixed when a socket is
    // bound, and it does not count connections, so that one user could take all descriptors. The number of the gate
    // goes from the listener to its connections with the options.
    Edit { file: "options.hpp", from: "    int sndhwm;", to: "    int sndhwm;\n\n    int gate = 0;" },
    Edit {
        file: "ipc_listener.cpp",
        from: "    _filename = ZMQ_MOVE (addr);",
        to: "    options.gate = gate::find (addr.c_str ());\n    _filename = ZMQ_MOVE (addr);",
    },
    Edit {
        file: "ipc_listener.cpp",
        from: "    return sock;",
        to: "    if (options.gate != 0 && !gate::admit (options.gate, sock)) {
        const int rc = ::close (sock);
        errno_assert (rc == 0);
        errno = EACCES;
        return retired_fd;
    }
    return sock;",
    },
    Edit {
        file: "ipc_listener.cpp",
        from: "zmq::ipc_listener_t::ipc_listener_t (",
        to: "extern \"C\" void treevisor_zmq_gate (int (*find_) (const char *),
                                    int (*admit_) (int, int, uint32_t, uint32_t, int32_t),
                                    void (*left_) (int, int),
                                    void (*limits_) (int, const void *, size_t, size_t *, size_t *),
                                    void (*broken_) (int))
{
    const zmq::gate::hooks_t hooks = {find_, admit_, left_, limits_, broken_};
    zmq::gate::hooks () = hooks;
}

zmq::ipc_listener_t::ipc_listener_t (",
    },
    Edit {
        file: "stream_engine_base.cpp",
        from: "    zmq_assert (!_plugged);\n\n    if (_s != retired_fd) {",
        to: "    zmq_assert (!_plugged);\n\n    if (_options.gate != 0 && _s != retired_fd)
        gate::hooks ().left (_options.gate, _s);\n    if (_s != retired_fd) {",
    },
    // A peer decides how many parts its message has, and libzmq keeps them all until the last one has come: neither
    // the high-water mark nor the limit of sizes holds against a message that never ends. So a connection is closed, as
    // one with an oversized part is, when a message has more parts or bytes than its gate allows for that peer, or more
    // than 1,024 parts where there is no gate.
    Edit {
        file: "session_base.hpp",
        from: "    bool _incomplete_in;",
        to: "    bool _incomplete_in;

    size_t _parts_in = 0;
    size_t _bytes_in = 0;
    size_t _parts_max = 1024;
    size_t _bytes_max = static_cast<size_t> (-1);
    bool _limits_known = false;",
    },
    Edit {
        file: "session_base.cpp",
        from: "    if (_pipe && _pipe->write (msg_)) {",
        to: "    const bool is_id = msg_->is_routing_id ();
    if (options.gate != 0 && (is_id || !_limits_known)) {
        _limits_known = true;
        gate::hooks ().limits (options.gate, is_id ? msg_->data () : NULL,
                               is_id ? msg_->size () : 0, &_parts_max, &_bytes_max);
        if (_engine)
            _engine->limit (_bytes_max);
    }
    const size_t size = msg_->size ();
    if (!is_id && (_parts_in >= _parts_max || size > _bytes_max - _bytes_in)) {
        gate::exceeded (options.gate);
        errno = EMSGSIZE;
        return -1;
    }
    const bool more = (msg_->flags () & msg_t::more) != 0;
    if (_pipe && _pipe->write (msg_)) {
        _parts_in = more ? _parts_in + 1 : 0;
        _bytes_in = more ? _bytes_in + size : 0;",
    },
    // A decoder allocates memory for a whole part when it has read its header. Without these limits each connection
    // could hold so much for ever by half a part. Before its routing id a peer has those of one without; the commands
    // of the handshake need a few hundred bytes.
    Edit {
        file: "i_engine.hpp",
        from: "    virtual const endpoint_uri_pair_t &get_endpoint () const = 0;",
        to: "    virtual const endpoint_uri_pair_t &get_endpoint () const = 0;

    virtual void limit (size_t) {}",
    },
    Edit {
        file: "i_decoder.hpp",
        from: "    virtual msg_t *msg () = 0;",
        to: "    virtual msg_t *msg () = 0;\n\n    virtual void limit (int, int64_t) {}",
    },
    Edit {
        file: "stream_engine_base.hpp",
        from: "    const endpoint_uri_pair_t &get_endpoint () const ZMQ_FINAL;",
        to: "    const endpoint_uri_pair_t &get_endpoint () const ZMQ_FINAL;
    void limit (size_t bytes_) ZMQ_FINAL;",
    },
    Edit {
        file: "stream_engine_base.cpp",
        from: "void zmq::stream_engine_base_t::terminate ()",
        to: "void zmq::stream_engine_base_t::limit (size_t bytes_)
{
    const int64_t most = _options.maxmsgsize;
    const bool is_less = most < 0 || bytes_ < static_cast<uint64_t> (most);
    if (_decoder)
        _decoder->limit (_options.gate, is_less ? static_cast<int64_t> (bytes_) : most);
}

void zmq::stream_engine_base_t::terminate ()",
    },
    Edit {
        file: "stream_engine_base.cpp",
        from: "        //  Switch into the normal message flow.",
        to: "        //  Switch into the normal message flow.
            if (_options.gate != 0) {
                size_t parts = 0;
                size_t bytes = static_cast<size_t> (-1);
                gate::hooks ().limits (_options.gate, NULL, 0, &parts, &bytes);
                limit (bytes < 1024 ? 1024 : bytes);
            }",
    },
    Edit { file: "v1_decoder.hpp", from: "    msg_t *msg () { return &_in_progress; }", to: LIMIT },
    Edit { file: "v2_decoder.hpp", from: "    msg_t *msg () { return &_in_progress; }", to: LIMIT },
    Edit { file: "v1_decoder.hpp", from: "    const int64_t _max_msg_size;", to: LIMITED },
    Edit { file: "v2_decoder.hpp", from: "    const int64_t _max_msg_size;", to: LIMITED },
    Edit {
        file: "v1_decoder.cpp",
        from: "            && static_cast<int64_t> (*_tmpbuf - 1) > _max_msg_size) {",
        to: "            && static_cast<int64_t> (*_tmpbuf - 1) > _max_msg_size) {
            gate::exceeded (_gate);",
    },
    Edit {
        file: "v1_decoder.cpp",
        from: "        && payload_length - 1 > static_cast<uint64_t> (_max_msg_size)) {",
        to: "        && payload_length - 1 > static_cast<uint64_t> (_max_msg_size)) {
        gate::exceeded (_gate);",
    },
    Edit {
        file: "v2_decoder.cpp",
        from: "        if (unlikely (msg_size_ > static_cast<uint64_t> (_max_msg_size))) {",
        to: "        if (unlikely (msg_size_ > static_cast<uint64_t> (_max_msg_size))) {
            gate::exceeded (_gate);",
    },
    // A new connection of the same session begins a new message.
    Edit {
        file: "session_base.cpp",
        from: "    //  Remove any half-read message from the in pipe.",
        to: "    _parts_in = 0;\n    _bytes_in = 0;\n\n    //  Remove any half-read message from the in pipe.",
    },
    // Only peers that shake hands as ZMTP 3 does have properties, and the address with its credentials is one of them.
    // So a peer with an older version, or without ZMTP, would send without the kernel's credentials.
    Edit {
        file: "stream_engine_base.cpp",
        from: "int zmq::stream_engine_base_t::push_msg_to_session (msg_t *msg_)
{",
        to: "int zmq::stream_engine_base_t::push_msg_to_session (msg_t *msg_)
{
    properties_t properties;
    if (_metadata == NULL && init_properties (properties)) {
        _metadata = new (std::nothrow) metadata_t (properties);
        alloc_assert (_metadata);
    }
    //  A message that found no room comes again.
    if (_metadata && !msg_->metadata ())
        msg_->set_metadata (_metadata);",
    },
    // A supervisor has many peers that send little. By default each peer's pipe is allocated 256 messages at a time,
    // and each direction of its connection gets a buffer of 8 KiB: some 50 KiB a peer. These sizes need 15 KiB.
    Edit { file: "config.hpp", from: "message_pipe_granularity = 256,", to: "message_pipe_granularity = 16," },
    Edit { file: "options.cpp", from: "    in_batch_size (8192),", to: "    in_batch_size (1024)," },
    Edit { file: "options.cpp", from: "    out_batch_size (8192),", to: "    out_batch_size (1024)," },
];

fn main() {
    if env::var_os(LAY_OUT).is_some() {
        zeromq_src::Build::new().build();
        return;
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/gate.hpp");
    println!("cargo:rustc-check-cfg=cfg(own_libzmq)");
    // To the build script of a crate that depends on this one: here is a `zmq_sys` that has the module `gate`.
    println!("cargo:gate=1");
    println!("cargo:rerun-if-env-changed={SYSTEM}");
    if env::var(SYSTEM).is_ok_and(|value| value == "1") {
        link_system_library();
        return;
    }
    assert_eq!(
        variable("CARGO_CFG_TARGET_OS"),
        "linux",
        "this zmq-sys builds libzmq for Linux only; set {SYSTEM}=1 to link a libzmq that is installed"
    );
    let out = PathBuf::from(variable("OUT_DIR"));
    let source = out.join("source");
    lay_out_sources(&source);
    for edit in &EDITS {
        apply(edit, &source.join("src"));
    }
    fs::copy("src/gate.hpp", source.join("src/gate.hpp")).expect("cannot copy gate.hpp");
    println!("cargo:rustc-cfg=own_libzmq");
    fs::write(out.join("platform.hpp"), platform()).expect("cannot write platform.hpp");
    compile(&out, &source);
    link_standard_library();
    println!("cargo:include={}", source.join("include").display());
}

/// Links the libzmq that is installed. Its absence is an error, for it was asked for by name.
fn link_system_library() {
    if let Err(error) = pkg_config::Config::new().atleast_version("4.3.4").probe("libzmq") {
        panic!("{SYSTEM}=1 asks for the system's libzmq, 4.3.4 or newer, and pkg-config does not find it: {error}");
    }
}

/// Copies libzmq's sources into `source`.
///
/// Only `zeromq-src`'s own build function knows where they are, and it copies them after compiling them. So it runs in
/// a process of its own, where the compilers are `true(1)`: it compiles nothing, copies the sources, and its Cargo
/// directives for linking its library go nowhere.
fn lay_out_sources(source: &Path) {
    // What is copied does not overwrite what an earlier run has edited.
    if source.exists() {
        fs::remove_dir_all(source).expect("cannot remove the sources of an earlier run");
    }
    let mut command = Command::new(env::current_exe().expect("a build script knows its own path"));
    command.env(LAY_OUT, "1").stdout(Stdio::null());
    let target = variable("TARGET");
    for tool in ["CC", "CXX", "AR", "RANLIB"] {
        // The name with the target comes first for the `cc` crate; a user may have set it.
        command.env(tool, "true").env(format!("{tool}_{target}"), "true");
    }
    let status = command.status().expect("cannot run this build script again");
    assert!(status.success(), "cannot lay out libzmq's sources: {status}");
}

/// Carries out `edit`, and fails loudly when the text is not there as it was: then the sources are others than
/// those this crate was written for.
fn apply(edit: &Edit, folder: &Path) {
    let path = folder.join(edit.file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let found = text.matches(edit.from).count();
    assert_eq!(found, 1, "\"{}\" must stand once in {}; look at the edit again", edit.from, edit.file);
    fs::write(&path, text.replace(edit.from, edit.to)).expect("cannot write an edited source");
}

/// The text of `platform.hpp`.
fn platform() -> String {
    let mut text = String::from("#pragma once\n");
    for (why, names) in PLATFORM {
        text.push_str(&format!("// {why}\n"));
        for name in names.split_whitespace() {
            text.push_str(&format!("#define {name} 1\n"));
        }
    }
    if has_strlcpy() {
        text.push_str("#define ZMQ_HAVE_STRLCPY 1\n");
    }
    if curve() {
        text.push_str("#define ZMQ_HAVE_CURVE 1\n#define ZMQ_USE_LIBSODIUM 1\n");
    }
    text
}

/// Whether the C library has `strlcpy` (glibc since 2.38, musl always): where it does, libzmq's own would clash.
fn has_strlcpy() -> bool {
    let probe = PathBuf::from(variable("OUT_DIR")).join("strlcpy.cpp");
    let text =
        "#include <string.h>\nunsigned long probe (char *to, const char *from) { return strlcpy (to, from, 8); }\n";
    fs::write(&probe, text).expect("cannot write a probe");
    let mut build = cc::Build::new();
    build.cpp(true).cpp_link_stdlib(None).cargo_metadata(false).cargo_warnings(false).warnings(false).file(&probe);
    build.try_compile("strlcpy_probe").is_ok()
}

/// Compiles libzmq and makes Cargo link it.
fn compile(out: &Path, source: &Path) {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++11")
        .warnings(false)
        // libzmq is not debugged from here, and unoptimised it takes as long to build.
        .opt_level(2)
        .debug(false)
        // Linked by hand, see `link_standard_library`.
        .cpp_link_stdlib(None)
        // `platform.hpp` lies here.
        .include(out)
        .include(source.join("src"))
        .include(source.join("include"))
        .files(units(out, &source.join("src")));
    if curve() {
        // Where the libsodium crate has put its headers: Cargo passes that to its direct dependents.
        build.include(variable("DEP_SODIUM_INCLUDE"));
    }
    build.compile("zmq");
    if curve() {
        // After libzmq, because a linker resolves from left to right.
        println!("cargo:rustc-link-search=native={}", variable("DEP_SODIUM_LIB"));
        println!("cargo:rustc-link-lib=static=sodium");
    }
}

/// Writes the translation units, each of which includes its share of the sources, and returns their paths.
fn units(out: &Path, sources: &Path) -> Vec<PathBuf> {
    let mut names: Vec<String> = fs::read_dir(sources)
        .expect("cannot list libzmq's sources")
        .map(|entry| entry.expect("cannot list libzmq's sources").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".cpp") && !LEFT_OUT.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    // The order of a folder is not guaranteed; sorted, the build is the same everywhere.
    names.sort();
    assert!(names.len() > 80, "{} sources are too few for libzmq", names.len());
    let share = names.len().div_ceil(UNITS);
    let mut paths = Vec::new();
    for (number, names) in names.chunks(share).enumerate() {
        let path = out.join(format!("unit{number}.cpp"));
        let include = |name: &String| format!("#include \"{}\"\n", sources.join(name).display());
        // Edits in many of the sources call the gate.
        let text: String = [String::from("gate.hpp")].iter().chain(names).map(include).collect();
        fs::write(&path, text).expect("cannot write a translation unit");
        paths.push(path);
    }
    paths
}

/// Links the C++ standard library: statically where the compiler has an archive of it.
///
/// A node then starts a millisecond sooner and is 1.3 MB smaller in memory, since the dynamic linker need not
/// relocate the shared one; and the binary runs on machines that have none.
fn link_standard_library() {
    let compiler = cc::Build::new().cpp(true).cargo_metadata(false).get_compiler();
    let archive = compiler
        .to_command()
        .arg("-print-file-name=libstdc++.a")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| PathBuf::from(text.trim()));
    // A compiler that has no such file prints the bare name.
    match archive.as_deref().filter(|path| path.is_absolute() && path.exists()).and_then(Path::parent) {
        Some(folder) => {
            println!("cargo:rustc-link-search=native={}", folder.display());
            println!("cargo:rustc-link-lib=static:-bundle=stdc++");
        }
        None => println!("cargo:rustc-link-lib=dylib=stdc++"),
    }
}

/// Whether CURVE was asked for.
fn curve() -> bool {
    env::var_os("CARGO_FEATURE_CURVE").is_some()
}

/// A variable that Cargo sets for build scripts.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set; this script is run by Cargo"))
}

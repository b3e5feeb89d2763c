//! Apache Kafka's own classes in a JVM.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Compiled, and ready to be asked.
pub struct Oracle {
    class_path: String,
}

impl Oracle {
    /// Takes Kafka's jars from the distribution at `COMPAT_HOME`, or has Maven fetch them once, and compiles the program.
    /// The error says why that cannot be done.
    pub fn new() -> Result<Oracle, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("connect-oracle");
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let jars = match std::env::var_os("COMPAT_HOME") {
            Some(home) => PathBuf::from(home).join("libs"),
            None => fetch(&here, &folder)?,
        };
        let class_path = format!("{}/*", jars.display());
        let classes = folder.join("classes");
        let classes_arg = classes.display().to_string();
        let source = here.join("Oracle.java").display().to_string();
        run("javac", &["-nowarn", "-Xlint:none", "-d", &classes_arg, "-cp", &class_path, &source])
            .map_err(|e| format!("{e}; install it with: apt-get install openjdk-17-jdk-headless"))?;
        Ok(Oracle { class_path: format!("{class_path}:{classes_arg}") })
    }

    /// The answers to cases, one for each.
    pub fn answers(&self, cases: &[String]) -> Vec<String> {
        let mut java = Command::new("java");
        java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", &self.class_path, "Oracle"]);
        let mut child = java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a JVM");
        let mut stdin = child.stdin.take().expect("its input");
        let input = cases.join("\n") + "\n";
        // It answers while it reads, so that both pipes have to be served at once.
        let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().expect("its output");
        writing.join().expect("the writing thread").expect("all cases written");
        let answers: Vec<String> =
            String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
        assert_eq!(answers.len(), cases.len(), "the JVM ended early");
        answers
    }
}

fn fetch(here: &Path, folder: &Path) -> Result<PathBuf, String> {
    let (jars, done) = (folder.join("libs"), folder.join("libs.complete"));
    if !done.exists() {
        let pom = here.join("pom.xml").display().to_string();
        let output = format!("-DoutputDirectory={}", jars.display());
        let goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
        run("mvn", &["-B", "-q", "-f", &pom, goal, &output])
            .map_err(|e| format!("{e}; install it with: apt-get install maven, or set COMPAT_HOME"))?;
        std::fs::write(&done, "").map_err(|e| e.to_string())?;
    }
    Ok(jars)
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} failed ({status})")),
        Err(error) => Err(format!("{program} cannot be started ({error})")),
    }
}

//! A report from the standard output of a command, within a deadline.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::report::Report;

/// Runs `argv`. After `deadline` it is killed and the state is unknown.
pub(super) async fn run(argv: &[Arc<str>], deadline: Duration) -> Report {
    let Some((program, arguments)) = argv.split_first() else {
        return Report::unknown("[device] command is empty");
    };
    let child = Command::new(&**program)
        .args(arguments.iter().map(|argument| &**argument))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    match timeout(deadline, child).await {
        Err(_) => Report::unknown(format!("{program} took longer than {deadline:?}")),
        Ok(Err(error)) => Report::unknown(format!("{program} cannot be run: {error}")),
        Ok(Ok(output)) if !output.status.success() => {
            Report::unknown(format!("{program} ended with {}", output.status))
        }
        Ok(Ok(output)) => Report::parse(program, &output.stdout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str) -> Report {
        run(&["sh".into(), "-c".into(), script.into()], Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn the_output_is_the_report_and_every_failure_is_unknown() {
        assert!(sh(r#"echo '{"compliant":true,"reason":"ok"}'"#).await.compliant);
        assert!(sh(r#"echo '{"compliant":true,"reason":"ok"}'; exit 3"#).await.reason.contains("exit status: 3"));
        assert!(sh("echo no").await.reason.contains("not a posture report"));
        assert!(run(&["/nonexistent/posture".into()], Duration::from_secs(5)).await.reason.contains("cannot be run"));
        assert!(!run(&[], Duration::from_secs(5)).await.compliant);
        let slow = run(&["sleep".into(), "60".into()], Duration::from_millis(50)).await;
        assert!(slow.reason.contains("longer than 50ms"), "{}", slow.reason);
    }
}

/** What runs a script, and what it could not find. Pure. */

/** The argument vector that the path of the script is appended to, as execve(2), "Interpreter scripts", makes it. */
export function interpreterOf(script: string): readonly [string, ...string[]] {
  const [, program, argument] = /^#![ \t]*(\S+)[ \t]*(.*?)[ \t]*(?:\n|$)/.exec(script) ?? [];
  if (program === undefined) return ['/bin/sh'];
  return argument ? [program, argument] : [program];
}

/** The last command that the output says was not found or may not be run: the words of dash, bash, zsh, busybox and env(1). */
export function missingCommand(output: string): string | undefined {
  return [...output.matchAll(NOT_FOUND)].at(-1)?.slice(1).find(Boolean);
}

// --- internal -----------------------------------------------------------------------------------

const NOT_FOUND =
  /(?:^|: )['‘`]?([^\s:'’`‘]+)['’`]?: (?:(?:command )?not found|Permission denied)$|command not found: (\S+)$|^\S*env: .*?['‘`]([^'’`]+)['’`]: No such file or directory$/gm;

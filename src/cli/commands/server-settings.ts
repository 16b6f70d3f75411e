import { Argument, type Command } from 'commander';
import { OffshootError } from '../../model/errors.ts';
import type { ServerSettings } from '../../model/server-settings.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, UsageError, withOutput } from '../output.ts';
import { chooseProject } from '../target.ts';

/** Adds `project settings`. */
export function registerProjectSettings(project: Command, cli: Cli): void {
  withOutput(
    withExamples(
      project.command('settings <name>').addArgument(CHANGES),
      'offshoot project settings shop',
      'offshoot project settings shop wal_level=logical max_connections=200',
      'offshoot project settings shop wal_level=',
    ),
  )
    .description('settings of the servers of all its branches; changing some starts them anew')
    .action(async (name: string, changes: readonly string[], { output }) => {
      const { projects } = cli.client();
      if (changes.length === 0)
        return print(cli, output, (await projects.get(name)).settings ?? {}, settingsText);
      const { settings = {} } = await projects.settings(name, changesOf(changes));
      say(cli, `the servers of ${name} that run are started anew with them`);
      await print(cli, output, settings, settingsText);
    });
}

/** Adds `branch settings`. @param define makes a command of branches with its examples */
export function registerBranchSettings(
  define: (usage: string, ...examples: readonly string[]) => Command,
  cli: Cli,
): void {
  withOutput(
    define(
      'settings <branch>',
      'offshoot branch settings fix-42',
      'offshoot branch settings fix-42 work_mem=256MB jit=off',
      'offshoot branch settings fix-42 work_mem=',
    ).addArgument(CHANGES),
  )
    .description('settings of its server, before those of its project; changing some starts it anew')
    .action(async (name: string, changes: readonly string[], { output, project: flag }) => {
      const project = await chooseProject(cli, flag);
      const { branches } = cli.client();
      if (changes.length === 0) {
        const { settings: general } = await cli.client().projects.get(project);
        const { settings: own } = await branches.get(project, name);
        return print(cli, output, { ...general, ...own }, settingsText);
      }
      const { settings = {} } = await branches.settings(project, name, changesOf(changes));
      say(cli, `the server of ${name}, if it runs, is started anew with them`);
      await print(cli, output, settings, settingsText);
    });
}

/** Reads `NAME=VALUE`; an empty value: as it is without. */
export function changesOf(texts: readonly string[]): Record<string, string | null> {
  return Object.fromEntries(
    texts.map(text => {
      const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
      if (name === undefined) throw new UsageError(`"${text}" must be NAME=VALUE, or NAME= to give it up`);
      return [name.trim(), value!.trim() === '' ? null : value!];
    }),
  );
}

/** The same where nothing is there yet. */
export const settingsOption = (text: string, before: ServerSettings = {}): ServerSettings => {
  const given = Object.entries(changesOf([text]));
  if (given.some(([, value]) => value === null))
    throw new OffshootError('settings/wrong', { problems: `${text} has no value` });
  return { ...before, ...(Object.fromEntries(given) as ServerSettings) };
};

// --- internal -----------------------------------------------------------------------------------

const CHANGES = new Argument('[changes...]', 'NAME=VALUE, or NAME= to give it up');

const settingsText = (settings: ServerSettings): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name} = ${value}`)
    .join('\n');

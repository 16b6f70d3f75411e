import type { Command } from 'commander';
import { OffshootError } from '../../model/errors.ts';
import { isInside } from '../../model/folder.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, table, UsageError, withOutput } from '../output.ts';
import { folderNamed } from '../project-file.ts';

export function register(program: Command, cli: Cli): void {
  const image = withExamples(
    program.command('image').description('how the images of deployed folders run on this machine'),
    'offshoot image list',
    'offshoot image remove users-service',
  );

  withExamples(withOutput(image.command('list').alias('ls')), 'offshoot image list')
    .description('the entries of all folders, and what runs by them')
    .action(async ({ output }) => {
      const images = await cli.client().images.list();
      await print(cli, output, images, list =>
        table(
          ['IMAGE', 'FOLDER', 'RUNS IN', 'COMMAND', 'USED BY'],
          list.map(i => [i.image, i.folder, i.dir, i.command.join(' '), i.users.join(', ') || '-']),
        ),
      );
    });

  withExamples(
    image.command('remove <image>').alias('rm'),
    'offshoot image remove users-service',
    'offshoot image remove users-service --folder ~/shop',
  )
    .description('forget an entry; deploying its folder again brings back what its offshoot.yaml says')
    .option('--folder <folder>', 'whose entry (default: the only one, or that of the working directory)')
    .action(async (name: string, { folder }) => {
      const named = (await cli.client().images.list()).filter(i => i.image === name).map(i => i.folder);
      const chosen = folder === undefined ? choose(name, named, cli.cwd) : folderNamed(cli, folder);
      await cli.client().images.remove({ folder: chosen, image: name });
      say(cli, `removed ${name} of ${chosen}`);
    });
}

// --- internal -----------------------------------------------------------------------------------

function choose(image: string, folders: readonly string[], cwd: string): string {
  if (folders.length === 0) throw new OffshootError('api/not-found', { kind: 'image', name: image });
  const around = folders.filter(folder => isInside(folder, cwd)).sort((a, b) => b.length - a.length);
  const chosen = around[0] ?? (folders.length === 1 ? folders[0] : undefined);
  if (chosen === undefined)
    throw new UsageError(`several folders have an entry "${image}"; pass --folder ${folders.join(' or ')}`);
  return chosen;
}

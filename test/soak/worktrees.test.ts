import { worktrees } from '../../scripts/soak/worktrees.ts';
import { tenth } from './tenth.ts';

tenth(worktrees);

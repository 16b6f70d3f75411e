import { residents } from '../../scripts/soak/residents.ts';
import { tenth } from './tenth.ts';

tenth(residents);

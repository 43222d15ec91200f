import { DataSource } from 'typeorm'
import { dataSourceOptions } from './src/repositories/postgres/data-source.ts'

const url = process.env.DATABASE_URL
if (!url?.startsWith('postgres'))
  throw new Error('Set DATABASE_URL to postgres://…: the command line of TypeORM works on a server only')

/**
 * The DataSource for the command line of TypeORM: `npx tsx node_modules/typeorm/cli.js migration:show -d ormconfig.ts`.
 */
export default new DataSource(dataSourceOptions({ url }))

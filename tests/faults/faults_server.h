/* A process that forks runs of a program before its main(), since loading its libraries takes long.
 * Private to faults_shim.c and faults_server.c.
 * Threads: called before any thread is started.
 * Ownership: argv lasts as long as the process. */
#ifndef PSC_FAULTS_SERVER_H
#define PSC_FAULTS_SERVER_H

/* Answers requests on stdin until its end, then ends the process. Returns in the process of a run,
 * in its folder, with its variables, stdout and stderr: the number of arguments. */
int psc_faults_serve(char ***argv);

#endif

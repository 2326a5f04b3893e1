# Portable session files.
if(TARGET eyrie::sessions)
  eyrie_add_fuzz_target(fuzz_session_file
    SOURCES session_file_fuzz.cpp
    LIBS eyrie::sessions
    CORPUS ${seeds}/session.eyrie
    MAX_LEN 8192)
endif()

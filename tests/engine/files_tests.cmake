# Files: configuration, checkpoint, tokenizer, where models are. `eyrie_model_files` bends model folders.
add_library(eyrie_model_files STATIC model_files.cpp)
target_include_directories(eyrie_model_files PUBLIC ${PROJECT_SOURCE_DIR})
target_link_libraries(eyrie_model_files
  PUBLIC eyrie::engine Qt6::Core nlohmann_json::nlohmann_json
  PRIVATE eyrie_options)

foreach(name config tensor_registry make_model model_locator bad_input_tokenizer)
  eyrie_add_test(engine_${name}_test SOURCES ${name}_test.cpp LIBS eyrie_model_files LABELS engine)
endforeach()
eyrie_add_test(engine_bad_input_test
  SOURCES bad_config_cases.cpp bad_index_cases.cpp bad_input_test.cpp bad_tensor_cases.cpp
  LIBS eyrie_model_files LABELS engine)
add_subdirectory(checkpoint)
add_subdirectory(tokenizer)

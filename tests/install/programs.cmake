# The program in both languages.
add_executable(consumer "${CMAKE_CURRENT_LIST_DIR}/main.cpp")
target_link_libraries(consumer PRIVATE mnistkit::runner)
add_executable(consumer_c "${CMAKE_CURRENT_LIST_DIR}/main.c")
target_link_libraries(consumer_c PRIVATE mnistkit::runner)
